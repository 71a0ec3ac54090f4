#pragma once

#include <atomic>
#include <bitset>
#include <cstddef>

#include "drey/types.hpp"

namespace drey {

/// A load in flight, as the store sees it: taken before the loader runs, shown when its value is
/// to be kept. Whatever invalidates the key meanwhile dooms the ticket, under the shard's lock, and
/// a doomed ticket fills nothing: an invalidation cannot lose to a load.
class Ticket {
public:
    explicit Ticket(Hash h) noexcept : hash_(h) {}
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;

    Hash hash() const noexcept { return hash_; }

    /// Whether the key was invalidated since the ticket was taken. Acquire, paired with the
    /// release in `doom`: who sees the doom sees what the invalidator did before.
    bool doomed() const noexcept { return doomed_.load(std::memory_order_acquire); }

private:
    friend class Tickets;

    const Hash hash_;
    std::atomic<bool> doomed_{false};
    Ticket* next_ = nullptr;
    Ticket* previous_ = nullptr;
};

/// Which keys of a shard were invalidated since some moment: for who has old values of many keys,
/// and does not know yet of which. Keys share bits, so that it takes no more memory the longer it
/// is: two of a bit are invalidated together, which costs a load and no correctness.
class Watch {
public:
    bool has_seen(Hash h) const noexcept { return seen_.test(bit_of(h)); }

private:
    friend class Tickets;

    static constexpr std::size_t bits = 1 << 13;

    /// Of bits that do not choose the shard.
    static std::size_t bit_of(Hash h) noexcept { return h % bits; }

    std::bitset<bits> seen_;
    Watch* next_ = nullptr;
};

/// The tickets that are out for one shard's keys, in an intrusive list: nothing here allocates.
/// For the holder of the shard's lock; O(tickets out) where there are any, nothing where not. Two
/// keys with one hash doom each other's loads, which costs a load and no correctness.
class Tickets {
public:
    void add(Watch& watch) noexcept {
        watch.next_ = watches_;
        watches_ = &watch;
    }

    void remove(Watch& watch) noexcept {
        Watch** at = &watches_;
        while (*at != &watch) at = &(*at)->next_;
        *at = watch.next_;
    }

    void add(Ticket& ticket) noexcept {
        ticket.next_ = first_;
        if (first_ != nullptr) first_->previous_ = &ticket;
        first_ = &ticket;
    }

    void remove(Ticket& ticket) noexcept {
        (ticket.previous_ != nullptr ? ticket.previous_->next_ : first_) = ticket.next_;
        if (ticket.next_ != nullptr) ticket.next_->previous_ = ticket.previous_;
        ticket.next_ = ticket.previous_ = nullptr;
    }

    void doom(Hash h) noexcept {
        if (first_ != nullptr || watches_ != nullptr) [[unlikely]]
            doom_those(h);
    }

    void doom_all() noexcept {
        for (Ticket* ticket = first_; ticket != nullptr; ticket = ticket->next_)
            ticket->doomed_.store(true, std::memory_order_release);
        for (Watch* watch = watches_; watch != nullptr; watch = watch->next_) watch->seen_.set();
    }

private:
    [[gnu::noinline]] void doom_those(Hash h) noexcept {
        for (Ticket* ticket = first_; ticket != nullptr; ticket = ticket->next_)
            if (ticket->hash_ == h) ticket->doomed_.store(true, std::memory_order_release);
        for (Watch* watch = watches_; watch != nullptr; watch = watch->next_)
            watch->seen_.set(Watch::bit_of(h));
    }

    Ticket* first_ = nullptr;
    Watch* watches_ = nullptr;
};

/// A ticket of one shard's, returned when it goes out of scope.
template <class Shard>
class TicketOf {
public:
    TicketOf(Shard& shard, Hash h) noexcept : shard_(shard), ticket_(h) {
        shard_.take_ticket(ticket_);
    }
    TicketOf(const TicketOf&) = delete;
    TicketOf& operator=(const TicketOf&) = delete;
    ~TicketOf() { shard_.return_ticket(ticket_); }

    bool doomed() const noexcept { return ticket_.doomed(); }
    const Ticket& ticket() const noexcept { return ticket_; }

private:
    Shard& shard_;
    Ticket ticket_;
};

/// A watch over one shard's keys, for as long as it is in scope.
template <class Shard>
class WatchOf {
public:
    explicit WatchOf(Shard& shard) noexcept : shard_(shard) { shard_.begin_watch(watch_); }
    WatchOf(const WatchOf&) = delete;
    WatchOf& operator=(const WatchOf&) = delete;
    ~WatchOf() { shard_.end_watch(watch_); }

    bool has_seen(Hash h) const noexcept { return shard_.has_seen(watch_, h); }

private:
    Shard& shard_;
    Watch watch_;
};

}  // namespace drey
