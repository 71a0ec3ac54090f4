#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "drey/writing/write.hpp"

/// A table of texts by number that remembers how it was written, and fails on demand.
class FakeDatabase {
public:
    using Write = drey::Write<int, std::string>;

    struct Down : std::runtime_error {
        Down() : std::runtime_error("the database is down") {}
    };

    void write(int key, const std::optional<std::string>& value) {
        const std::lock_guard lock(mutex_);
        if (down) throw Down();
        if (value) {
            rows_[key] = *value;
        } else {
            rows_.erase(key);
        }
        log_.push_back(std::to_string(key) + "=" + value.value_or("-"));
    }

    std::optional<std::string> read(int key) const {
        const std::lock_guard lock(mutex_);
        const auto row = rows_.find(key);
        return row != rows_.end() ? std::optional(row->second) : std::nullopt;
    }

    std::map<int, std::string> rows() const {
        const std::lock_guard lock(mutex_);
        return rows_;
    }

    /// "key=value", "key=-" for those that were erased.
    std::vector<std::string> log() const {
        const std::lock_guard lock(mutex_);
        return log_;
    }

    /// Writes batches; remembers how large they were.
    auto batch_writer() {
        return [this](std::span<const Write> batch) {
            if (before_batch) before_batch();
            batches.push_back(batch.size());
            drey::Unwritten<int> unwritten;
            for (const auto& [key, value] : batch) {
                if (refused.contains(key)) {
                    unwritten.add(key, std::make_exception_ptr(Down()));
                } else {
                    write(key, value);
                }
            }
            return unwritten;
        };
    }

    bool down = false;
    std::set<int> refused;
    std::vector<std::size_t> batches;
    std::function<void()> before_batch;

private:
    mutable std::mutex mutex_;
    std::map<int, std::string> rows_;
    std::vector<std::string> log_;
};

inline std::string message_of(const std::exception_ptr& error) {
    try {
        if (error) std::rethrow_exception(error);
    } catch (const std::exception& e) {
        return e.what();
    }
    return "nothing";
}
