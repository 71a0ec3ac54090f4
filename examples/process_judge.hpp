#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "processes.hpp"
#include "right_answer.hpp"
#include "user_database.hpp"

namespace example {

inline constexpr std::size_t process_count = 2;
inline constexpr std::array<const char*, process_count> process_names = {"A", "B"};

/// Knows what may be answered, to which process. A row's version grows with each update; an answer
/// must be whole and no newer than the updates that have begun. And no older than any update that
/// had finished when the question was asked, which means:
///  - for the process that made the update: once its `erase` has returned, whether Redis could be
///    reached or not. drey takes what it could not erase for missing.
///  - for the other process: once Redis has confirmed the erase. While Redis cannot be reached
///    nobody can tell the other process, and it may be the first to reach Redis again; what it then
///    finds there may be older than the update, until the erase is made up for. How many such late
///    answers there were is counted.
class Judge {
public:
    explicit Judge(UserId rows) : rows_(rows) {}

    void update_begins(UserId id) const noexcept { rows_[id].begun.fetch_add(1); }

    void update_finished_here(std::size_t process, UserId id, std::uint32_t version) const {
        raise(rows_[id].finished_in[process], version);
    }
    void update_finished(UserId id, std::uint32_t version) const {
        raise(rows_[id].finished, version);
    }

    struct Floor {
        std::uint32_t oldest;  // that would be right
        std::uint32_t newest;  // that anyone knows; above `oldest` only if an erase is outstanding
    };

    /// Ask this before asking for the user.
    Floor floor(std::size_t process, UserId id) const noexcept {
        const Row& row = rows_[id];
        Floor floor{row.finished.load(), 0};
        for (const auto& finished : row.finished_in)
            floor.newest = std::max(floor.newest, finished.load());
        floor.oldest = std::max(floor.oldest, row.finished_in[process].load());
        return floor;
    }

    /// Whether the answer is late; throws if it is wrong.
    bool check(UserId id, const Floor& floor, const User& answer) const {
        check_answer(id, answer, floor.oldest, 1 + rows_[id].begun.load());
        return answer.version < floor.newest;
    }

private:
    using Version = std::atomic<std::uint32_t>;
    struct Row {
        Version begun;  // how many updates
        // The newest version whose update has finished, or 0: for all, for one process.
        Version finished;
        std::array<Version, process_count> finished_in;
    };
    static_assert(Version::is_always_lock_free, "processes share it");

    static void raise(Version& to, std::uint32_t version) noexcept {
        // Two threads may update a user at once and finish in the other order.
        std::uint32_t known = to.load();
        while (known < version && !to.compare_exchange_weak(known, version)) {
        }
    }

    Shared<Row> rows_;
};

}  // namespace example
