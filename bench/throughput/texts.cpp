#include "throughput/cases.hpp"

std::vector<throughput::Case> throughput::text_cases() { return cases<Texts>(); }
