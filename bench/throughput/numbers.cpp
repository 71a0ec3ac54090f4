#include "throughput/cases.hpp"

std::vector<throughput::Case> throughput::number_cases() { return cases<Numbers>(); }
