#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

/// A table of texts by number that remembers how it was written; fails on demand.
class FakeDatabase {
public:
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

    bool down = false;

private:
    mutable std::mutex mutex_;
    std::map<int, std::string> rows_;
    std::vector<std::string> log_;
};
