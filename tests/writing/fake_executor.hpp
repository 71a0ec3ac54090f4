#pragma once

#include <functional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "drey/terms.hpp"

/// An executor that does with its tasks what it is told: keeps them for the test to run, unless
/// `next` says otherwise of the next one.
class FakeExecutor {
public:
    using Task = std::function<void()>;
    enum class Does { keeps, runs, runs_elsewhere, refuses, drops };

    FakeExecutor() = default;
    FakeExecutor(const FakeExecutor&) = delete;
    FakeExecutor& operator=(const FakeExecutor&) = delete;
    ~FakeExecutor() {
        for (std::thread& thread : threads_) thread.join();
    }

    /// Not a copy: what it does is seen here.
    drey::Executor ref() {
        return [this](Task task) { take(std::move(task)); };
    }

    int asked = 0;
    std::function<Does()> next = [] { return Does::keeps; };
    std::vector<Task> kept;

private:
    void take(Task task) {
        ++asked;
        switch (next()) {
            case Does::keeps:
                kept.push_back(std::move(task));
                break;
            case Does::runs:
                task();
                break;
            case Does::runs_elsewhere:
                threads_.emplace_back(std::move(task));
                break;
            case Does::refuses:
                throw std::runtime_error("full");
            case Does::drops:
                break;
        }
    }

    std::vector<std::thread> threads_;
};
