#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "drey/detail/fence.hpp"
#include "drey/detail/fork.hpp"

/// How readers without locks keep what they read from being destroyed: hazard pointers (Michael,
/// "Hazard Pointers: Safe Memory Reclamation for Lock-Free Objects", IEEE TPDS 2004), with the
/// expensive fence on the reclaimer's side.
///
/// A reader that has found an address publishes it in a cell of its own, then checks that it can
/// still be found. A reclaimer first makes the address unfindable, then reads all cells. Both do
/// store, store-load fence, load; of two such sequences at least one sees the other's store. So
/// either the reader's check fails, or the reclaimer sees the cell and leaves the address alone.
///
/// Addresses are even: an odd one says of the even one before it that it is being written to.
///
/// Epochs would protect all that a reader might find; a hazard protects one entry. A reader that
/// is preempted, or that stays in a visitor for minutes, holds back just the entry it reads.
namespace drey {

namespace detail {

/// One thread's hazards, or those of one deeply nested guard.
struct alignas(64) HazardRecord {
    /// What guards protect. A cell that no guard uses is null, but that the first one names the
    /// domain while a thread whose guards may be quick owns the record.
    std::array<std::atomic<const void*>, 5> cells{};
    bool asymmetric = false;  // the domain's, at hand
    bool temporary = false;   // of one guard, not of a thread
    std::atomic<bool> taken{true};
    std::size_t lane = 0;                       // how many records were made before this one
    std::atomic<std::size_t>* users = nullptr;  // the domain's count
    HazardRecord* next = nullptr;
    std::atomic<const void*> owner{nullptr};  // the CurrentHazards of the thread that has it
};

/// Of threads that have none.
inline constinit HazardRecord no_hazards{};

/// The calling thread's record in the domain it used last. Constant-initialised and trivially
/// destructible, so that reading it is one plain load.
struct CurrentHazards {
    HazardRecord* record = &no_hazards;
    const void* domain = nullptr;
    bool exiting = false;
};

}  // namespace detail

/// The threads that read caches, and the addresses they hold. There is one for the process, but a
/// cache knows its own by pointer: two copies of this library in one process do not mistake each
/// other's threads.
class HazardDomain {
    using Record = detail::HazardRecord;
    using Cell = std::atomic<const void*>;

public:
    enum class Fences { asymmetric_if_possible, symmetric };

    explicit HazardDomain(Fences fences = Fences::asymmetric_if_possible) noexcept
        : asymmetric_(fences == Fences::asymmetric_if_possible && detail::has_process_fence()) {}
    HazardDomain(const HazardDomain&) = delete;
    HazardDomain& operator=(const HazardDomain&) = delete;

    /// All other threads that used it must have ended: they give their records back as they end.
    ~HazardDomain() {
        forget_thread();
        for (Record* record = records_.load(std::memory_order_acquire); record != nullptr;) {
            Record* next = record->next;
            delete record;
            record = next;
        }
    }

    /// The domain of caches that are not given another. Never destroyed, so that caches with
    /// static lifetime may use it at exit.
    static HazardDomain& process() {
        static HazardDomain* const domain = [] {
            auto* const made = new HazardDomain;
            // (Before it, so that no child finds this half made by a thread that it does not have.)
            detail::at_fork([] { process(); }, nullptr, [] { process().forget_other_threads(); });
            return made;
        }();
        return *domain;
    }

    /// One protected address of the calling thread, for a scope. Guards nest: a visitor or a copy
    /// constructor may use the cache again. Creating a thread's first guard, or one nested deeper
    /// than a record has cells, may throw std::bad_alloc.
    class Guard {
    public:
        explicit Guard(HazardDomain& domain) : record_(domain.mine()) {
            cell_ = free_cell(*record_, domain);
            if (cell_ == nullptr) [[unlikely]] {
                record_ = domain.acquire();
                cell_ = &record_->cells[0];
            }
            unused_ = cell_->load(std::memory_order_relaxed);
            // Relaxed: it stands for no entry, and says to this thread alone that the cell is used.
            cell_->store(record_, std::memory_order_relaxed);
        }
        Guard(const Guard&) = delete;
        Guard& operator=(const Guard&) = delete;

        ~Guard() {
            // Release: what we read from the entry happens before the reclaimer, who reads the
            // cell with acquire, gives its memory away.
            cell_->store(unused_, std::memory_order_release);
            if (record_->temporary) [[unlikely]]
                release(record_);
        }

        /// A small number that no other thread has while this guard lives; numbers are reused.
        std::size_t lane() const noexcept { return record_->lane; }

        /// Holds on to `address`, if a check made afterwards finds it still published.
        void protect(const void* address) noexcept {
            // Release as above: this store ends our hold on the address that was here before.
            cell_->store(address, std::memory_order_release);
            if (record_->asymmetric) [[likely]] {
                std::atomic_signal_fence(std::memory_order_seq_cst);
            } else {
                detail::full_fence();
            }
        }

    private:
        static Cell* free_cell(Record& record, const HazardDomain& domain) noexcept {
            for (Cell& cell : record.cells) {
                const void* address = cell.load(std::memory_order_relaxed);
                if (address == nullptr || address == &domain) return &cell;
            }
            return nullptr;
        }

        Record* record_;
        Cell* cell_;
        const void* unused_;  // what the cell held
    };

    /// What protects for a quick guard, to be passed by value. Must not outlive it.
    class Hand {
    public:
        void protect(const void* address) const noexcept {
            cell_->store(address, std::memory_order_release);
            std::atomic_signal_fence(std::memory_order_seq_cst);
        }

    private:
        friend class HazardDomain;
        explicit Hand(Cell& cell) noexcept : cell_(&cell) {}
        Cell* cell_;
    };

    /// A guard in two loads and two stores, for the common case: the thread used this domain last,
    /// has no other guard, needs no fence and has a lane below `own_lanes()`. False where that is
    /// not so. It must protect before it lets other code run that may use guards.
    class QuickGuard {
    public:
        /// `domain` may be any address that is not a domain's: then it is false.
        explicit QuickGuard(const void* domain) noexcept
            : record_(current_.record), domain_(domain),
              is_mine_(record_->cells[0].load(std::memory_order_relaxed) == domain) {}
        QuickGuard(const QuickGuard&) = delete;
        QuickGuard& operator=(const QuickGuard&) = delete;
        ~QuickGuard() {
            if (is_mine_) record_->cells[0].store(domain_, std::memory_order_release);
        }

        explicit operator bool() const noexcept { return is_mine_; }
        std::size_t lane() const noexcept { return record_->lane; }
        Hand hand() const noexcept { return Hand(record_->cells[0]); }
        void protect(const void* address) noexcept { hand().protect(address); }

        /// As `protect`, and lets `await_writers` know that the caller is about to change what is
        /// there, if a check made afterwards allows it. The address must be even.
        void protect_to_write(const void* address) noexcept { protect(marked(address)); }

    private:
        Record* const record_;
        const void* const domain_;
        const bool is_mine_;
    };

    /// Lanes below this are worth a place of their own in what threads keep apart.
    static std::size_t own_lanes() noexcept {
        static const auto lanes = std::clamp<std::size_t>(
            2 * std::bit_ceil(std::size_t{std::thread::hardware_concurrency()}), 16,
            most_own_lanes);
        return lanes;
    }
    static constexpr std::size_t most_own_lanes = 64;

    /// Names a moment: see `fenced_since`.
    using Moment = std::uint64_t;

    /// The moment after everything that the caller has unlinked. One full fence.
    Moment now() noexcept {
        detail::full_fence();  // what was unlinked is so for all who begin a fence later
        return fences_begun_.load(std::memory_order_seq_cst);
    }

    /// Whether some thread has fenced all readers since then: who unlinked something before that
    /// moment need not do it again to know who holds it. So fences serve all who wait for one.
    bool fenced_since(Moment moment) const noexcept {
        return !asymmetric_ || fences_done_.load(std::memory_order_acquire) > moment;
    }

    /// The addresses that were protected at some moment after `Held` was made, at which everything
    /// the caller had unlinked before was unlinked for all threads.
    class Held {
    public:
        explicit Held(HazardDomain& domain) noexcept : Held((domain.fence_readers(), &domain)) {}

        /// For who knows, by `fenced_since`, that no fence is needed any more.
        static Held without_fence(HazardDomain& domain) noexcept { return Held(&domain); }

        bool is_empty() const noexcept { return count_ == 0; }

        bool contains(const void* address) const noexcept {
            for (std::size_t i = 0; i < count_; ++i)
                if (addresses_[i] == address) return true;
            // What is protected stays so until its reader is done, so a look after the fence is as
            // good at any later time.
            for (const Record* r = unlisted_; r != nullptr; r = r->next)
                if (protects(*r, address)) return true;
            return false;
        }

    private:
        explicit Held(const HazardDomain* domain) noexcept {
            for (Record* r = domain->records_.load(std::memory_order_acquire); r != nullptr;
                 r = r->next)
                for (const Cell& cell : r->cells)
                    if (const void* address = unmarked(cell.load(std::memory_order_acquire));
                        address != nullptr && address != r && address != domain) {
                        if (count_ == addresses_.size()) {
                            unlisted_ = r;
                            return;
                        }
                        addresses_[count_++] = address;
                    }
        }

        std::array<const void*, 256> addresses_;
        std::size_t count_ = 0;
        const Record* unlisted_ = nullptr;  // from here on there was no room for more
    };

    /// Returns when whoever was writing by `protect_to_write` has done so, or has seen all that the
    /// caller stored before this, and left it. They are never far from it.
    void await_writers() noexcept {
        fence_readers();
        for (Record* r = records_.load(std::memory_order_acquire); r != nullptr; r = r->next)
            while (is_marked(r->cells[0].load(std::memory_order_acquire)))
                std::this_thread::yield();
    }

    /// Whether the calling thread itself protects `address`.
    bool held_by_me(const void* address) const noexcept {
        // Relaxed: only what this thread stored itself can make a difference.
        for (const Record* r = records_.load(std::memory_order_acquire); r != nullptr; r = r->next)
            if (r->owner.load(std::memory_order_relaxed) == &current_ && protects(*r, address))
                return true;
        return false;
    }

private:
    static bool protects(const Record& record, const void* address) noexcept {
        for (const Cell& cell : record.cells)
            if (unmarked(cell.load(std::memory_order_acquire)) == address) return true;
        return false;
    }

    /// Addresses of entries that are being written to are odd.
    static const void* marked(const void* address) noexcept {
        return static_cast<const char*>(address) + 1;
    }
    static const void* unmarked(const void* address) noexcept {
        return static_cast<const char*>(address) - (is_marked(address) ? 1 : 0);
    }
    static bool is_marked(const void* address) noexcept {
        return (reinterpret_cast<std::uintptr_t>(address) & 1) != 0;
    }

    static inline constinit thread_local detail::CurrentHazards current_{};

    /// The calling thread's records in all domains, given back when the thread ends.
    struct Mine {
        struct Entry {
            HazardDomain* domain;
            Record* record;
        };
        std::vector<Entry> entries;
        ~Mine() {
            current_ = {.exiting = true};
            for (const Entry& entry : entries) release(entry.record);
        }
    };
    static Mine& thread_records() {
        static thread_local Mine mine;
        return mine;
    }

    Record* mine() {
        if (current_.domain == this) [[likely]]
            return current_.record;
        return find_mine();
    }

    [[gnu::noinline]] Record* find_mine() {
        if (current_.exiting) return acquire();  // destructors of thread-locals after ours
        auto& entries = thread_records().entries;
        for (const auto& entry : entries)
            if (entry.domain == this) return make_current(entry.record);
        entries.reserve(entries.size() + 1);
        Record* record = acquire();
        record->temporary = false;
        if (asymmetric_ && record->lane < own_lanes())
            record->cells[0].store(this, std::memory_order_relaxed);
        entries.push_back({this, record});
        return make_current(record);
    }

    Record* make_current(Record* record) noexcept {
        current_ = {.record = record, .domain = this};
        return record;
    }

    void forget_thread() noexcept {
        if (current_.exiting) return;
        auto& entries = thread_records().entries;
        std::erase_if(entries, [&](const auto& entry) { return entry.domain == this; });
        if (current_.domain == this) current_ = {};
    }

    /// In the child of a fork there is no thread but the caller: nobody holds what others did. Else
    /// their hazards would hold back, for ever, whatever comes to lie at these addresses.
    void forget_other_threads() noexcept {
        std::size_t mine = 0;
        for (Record* r = records_.load(std::memory_order_acquire); r != nullptr; r = r->next) {
            if (r->owner.load(std::memory_order_relaxed) == &current_) {
                ++mine;
                continue;
            }
            for (Cell& cell : r->cells) cell.store(nullptr, std::memory_order_relaxed);
            r->owner.store(nullptr, std::memory_order_relaxed);
            r->taken.store(false, std::memory_order_release);
        }
        users_.store(mine, std::memory_order_seq_cst);
    }

    /// A record that nobody uses, a new one if need be; temporary until someone keeps it.
    [[gnu::noinline]] Record* acquire() {
        users_.fetch_add(1, std::memory_order_seq_cst);  // see fence_readers
        detail::full_fence();
        Record* record = take_free();
        if (record == nullptr) record = make();
        record->temporary = true;
        record->owner.store(&current_, std::memory_order_relaxed);
        return record;
    }

    Record* take_free() noexcept {
        for (Record* r = records_.load(std::memory_order_acquire); r != nullptr; r = r->next) {
            bool free = false;
            if (!r->taken.load(std::memory_order_relaxed) &&
                r->taken.compare_exchange_strong(free, true, std::memory_order_acquire)) {
                return r;
            }
        }
        return nullptr;
    }

    Record* make() {
        Record* record = nullptr;
        try {
            record = new Record;
        } catch (...) {
            users_.fetch_sub(1, std::memory_order_seq_cst);
            throw;
        }
        record->asymmetric = asymmetric_;
        record->lane = made_.fetch_add(1, std::memory_order_relaxed);
        record->users = &users_;
        record->next = records_.load(std::memory_order_relaxed);
        // Release: who walks the list sees the record made.
        while (!records_.compare_exchange_weak(record->next, record, std::memory_order_release,
                                               std::memory_order_relaxed)) {
        }
        return record;
    }

    [[gnu::noinline]] static void release(Record* record) noexcept {
        record->cells[0].store(nullptr, std::memory_order_release);
        record->owner.store(nullptr, std::memory_order_relaxed);
        record->users->fetch_sub(1, std::memory_order_seq_cst);
        record->taken.store(false, std::memory_order_release);
    }

    /// After this, a reader either has its cell seen by a later load of ours, or sees every store
    /// that we made before.
    void fence_readers() noexcept {
        if (!asymmetric_) return detail::full_fence();
        const Moment mine = fences_begun_.fetch_add(1, std::memory_order_seq_cst) + 1;
        // After the count was raised: what others unlinked before they read it is, too, for all who
        // come after this.
        detail::full_fence();
        // A thread counts itself among the users, and makes a full fence, before it first publishes
        // a hazard. If we are the only one counted, the fence of whoever comes later is after ours
        // in the total order of all, and so it sees all that we unlinked.
        const bool alone = users_.load(std::memory_order_seq_cst) == 1 && current_.domain == this;
        if (!alone) detail::process_fence();
        // Release: who sees that it was done comes after it.
        Moment done = fences_done_.load(std::memory_order_relaxed);
        while (done < mine &&
               !fences_done_.compare_exchange_weak(done, mine, std::memory_order_release,
                                                   std::memory_order_relaxed)) {
        }
    }

    const bool asymmetric_;
    std::atomic<std::size_t> users_{0};
    std::atomic<std::size_t> made_{0};
    std::atomic<Moment> fences_begun_{0};
    std::atomic<Moment> fences_done_{0};  // the latest of those that are
    std::atomic<Record*> records_{nullptr};
};

}  // namespace drey
