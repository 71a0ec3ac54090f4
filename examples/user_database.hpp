#pragma once

#include <sqlite3.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

/// The database of the cache_aside examples: user profiles in SQLite, on disk, and as little of a
/// wrapper around SQLite's C interface as keeps errors and resources out of the way.
namespace example {

using UserId = std::uint32_t;

struct User {
    UserId id = 0;
    std::uint32_t version = 0;  ///< 1 when created, one more with each update
    std::string name;
    std::string email;
    std::string city;
    std::string about;
    std::uint64_t digest = 0;  ///< of all the above, written with the row

    friend bool operator==(const User&, const User&) = default;
};

/// Ties a row's texts to its id and version: a mixture of two versions or two users does not fit.
inline std::uint64_t digest_of(const User& user) {
    std::uint64_t digest = std::uint64_t{user.version} << 32 | user.id;
    for (const std::string* text : {&user.name, &user.email, &user.city, &user.about})
        digest = (digest ^ std::hash<std::string_view>{}(*text)) * 0x9e3779b97f4a7c15;
    return digest;
}

inline std::string_view city_of(UserId id, std::uint32_t version) {
    static constexpr std::array<std::string_view, 8> cities = {
        "Lisbon", "Nairobi", "Osaka", "Quito", "Tallinn", "Winnipeg", "Yerevan", "Zagreb"};
    return cities[(id + version) % cities.size()];
}

/// The user as first inserted.
inline User new_user(UserId id) {
    static constexpr std::array<std::string_view, 8> names = {
        "Ada", "Barbara", "Donald", "Edsger", "Frances", "Grace", "Leslie", "Tony"};
    const std::string name(names[id % names.size()]);
    const std::string number = std::to_string(id);
    User user{.id = id,
              .version = 1,
              .name = name + " No. " + number,
              .email = name + "." + number + "@users.example.org",
              .city = std::string(city_of(id, 1)),
              .about = name + " has been with us since day " + number +
                       ", collects acorns, answers within a day, and prefers to be written to in "
                       "the morning."};
    user.digest = digest_of(user);
    return user;
}

class SqliteError : public std::runtime_error {
public:
    SqliteError(sqlite3* db, std::string_view doing)
        : std::runtime_error("SQLite: " + std::string(doing) + ": " + sqlite3_errmsg(db)) {}
};

/// A prepared statement. Bound texts must live until the statement has been reset.
class Statement {
public:
    Statement(sqlite3* db, const char* sql) : db_(db) {
        sqlite3_stmt* statement = nullptr;
        if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) !=
            SQLITE_OK)
            throw SqliteError(db, sql);
        statement_.reset(statement);
    }

    template <class... Values>
    Statement& bind(const Values&... values) {
        int at = 0;
        (bind_one(++at, values), ...);
        return *this;
    }

    /// Whether there is a row. Once there is none, or on an error, the statement is reset.
    bool step() {
        const int result = sqlite3_step(statement_.get());
        if (result == SQLITE_ROW) return true;
        if (result != SQLITE_DONE) {
            const SqliteError error(db_, sqlite3_sql(statement_.get()));
            reset();
            throw error;
        }
        reset();
        return false;
    }

    void run() {
        while (step()) {
        }
    }

    /// Ends the statement. A query that has been read but not reset keeps its snapshot of the
    /// database open, and the next query of the connection would read the past.
    void reset() noexcept { sqlite3_reset(statement_.get()); }

    struct Reset {
        Statement& statement;
        ~Reset() { statement.reset(); }
    };

    std::int64_t integer(int column) { return sqlite3_column_int64(statement_.get(), column); }

    std::string text(int column) {
        // In this order: the first call makes it text, the second counts the bytes of that.
        const auto* bytes =
            reinterpret_cast<const char*>(sqlite3_column_text(statement_.get(), column));
        const int size = sqlite3_column_bytes(statement_.get(), column);
        return bytes != nullptr ? std::string(bytes, static_cast<std::size_t>(size))
                                : std::string();
    }

private:
    void bind_one(int at, std::int64_t value) {
        check(sqlite3_bind_int64(statement_.get(), at, value));
    }
    void bind_one(int at, const std::string& text) {
        check(sqlite3_bind_text(statement_.get(), at, text.data(), static_cast<int>(text.size()),
                                SQLITE_STATIC));
    }
    void check(int result) {
        if (result != SQLITE_OK) throw SqliteError(db_, "bind");
    }

    struct Finalize {
        void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
    };
    sqlite3* db_;
    std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

/// A connection, for one thread.
class Connection {
public:
    explicit Connection(const std::filesystem::path& file) {
        sqlite3* db = nullptr;
        // Without SQLite's own mutex: no connection is shared between threads.
        const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
        const int result = sqlite3_open_v2(file.string().c_str(), &db, flags, nullptr);
        db_.reset(db);
        if (result != SQLITE_OK) throw SqliteError(db, "open " + file.string());
        sqlite3_busy_timeout(db, 10'000);
    }

    Statement prepare(const char* sql) { return Statement(db_.get(), sql); }
    void run(const char* sql) { prepare(sql).run(); }

private:
    struct Close {
        void operator()(sqlite3* db) const noexcept { sqlite3_close_v2(db); }
    };
    std::unique_ptr<sqlite3, Close> db_;
};

/// Commits when told to, and rolls back if it never was.
class Transaction {
public:
    explicit Transaction(Connection& db) : db_(db) { db_.run("BEGIN IMMEDIATE"); }
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    ~Transaction() {
        if (!open_) return;
        try {
            db_.run("ROLLBACK");
        } catch (const SqliteError&) {  // SQLite has rolled back already
        }
    }

    void commit() {
        db_.run("COMMIT");
        open_ = false;
    }

private:
    Connection& db_;
    bool open_ = true;
};

/// A new directory under the system's place for temporary files, removed with all that is in it.
class TemporaryDirectory {
public:
    TemporaryDirectory() {
        std::random_device random;
        do {
            path_ = std::filesystem::temp_directory_path() /
                    ("drey-example-" + std::to_string(random()));
        } while (!std::filesystem::create_directory(path_));
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    const std::filesystem::path& path() const noexcept { return path_; }

private:
    std::filesystem::path path_;
};

/// Users 0 to rows - 1, in a file that lives as long as this object.
class UserDatabase {
public:
    /// What one thread uses to read and write users.
    class Session;

    /// Creates and fills the database; calls `progress(rows so far)` now and then.
    template <class Progress>
    UserDatabase(UserId rows, Progress&& progress) : rows_(rows) {
        Connection db(file());
        db.run(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, version INTEGER NOT NULL, name TEXT NOT "
            "NULL,"
            " email TEXT NOT NULL, city TEXT NOT NULL, about TEXT NOT NULL, digest INTEGER NOT "
            "NULL)");
        Transaction transaction(db);
        Statement insert = db.prepare("INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, ?)");
        for (UserId id = 0; id < rows; ++id) {
            const User user = new_user(id);
            insert.bind(user.id, user.version, user.name, user.email, user.city, user.about,
                        static_cast<std::int64_t>(user.digest));
            insert.run();
            if (id % 1024 == 0) progress(id);
        }
        transaction.commit();
        // With a write-ahead log a reader neither waits for a writer nor makes it wait, as in the
        // servers this stands for; with the default rollback journal each commit would need all
        // readers out. NORMAL leaves the log unsynchronised at a commit: a power cut might lose the
        // last updates, but readers see each commit at once, and that is what a cache depends on.
        db.run("PRAGMA journal_mode = WAL");
    }

    /// `distance` is slept with each query, half of it on the way there and half on the way back,
    /// as if the database were at the other end of a network.
    Session connect(std::chrono::microseconds distance = {});

    UserId rows() const noexcept { return rows_; }
    std::uintmax_t bytes() const { return std::filesystem::file_size(file()); }
    std::filesystem::path file() const { return directory_.path() / "users.db"; }

private:
    UserId rows_;
    TemporaryDirectory directory_;
    // SQLite has one writer at a time anyway. Waiting here wakes up at once; waiting in SQLite, as
    // for the writer of another process, means asking again every few milliseconds.
    std::mutex writing_;
};

class UserDatabase::Session {
public:
    Session(UserDatabase& database, std::chrono::microseconds distance)
        : database_(database), distance_(distance), db_(database.file()) {
        db_.run("PRAGMA synchronous = NORMAL");
    }

    /// Reads the row. Throws std::out_of_range if there is none.
    User load(UserId id) {
        ++reads_;
        travel();
        User user = row(id);
        travel();
        return user;
    }

    /// Moves the user to another city, in a transaction of its own; the row's new version, which is
    /// committed when this returns.
    std::uint32_t move_house(UserId id) {
        travel();
        const std::uint32_t version = update(id);
        travel();
        return version;
    }

    /// How many times `load` was called.
    std::uint64_t reads() const noexcept { return reads_; }

private:
    std::uint32_t update(UserId id) {
        const std::lock_guard lock(database_.writing_);
        Transaction transaction(db_);
        User user = row(id);
        user.city = city_of(id, ++user.version);
        user.digest = digest_of(user);
        update_.bind(user.version, user.city, static_cast<std::int64_t>(user.digest), id).run();
        transaction.commit();
        return user.version;
    }

    User row(UserId id) {
        const Statement::Reset reset_at_end{select_};
        if (!select_.bind(id).step()) throw std::out_of_range("no user " + std::to_string(id));
        return {.id = static_cast<UserId>(select_.integer(0)),
                .version = static_cast<std::uint32_t>(select_.integer(1)),
                .name = select_.text(2),
                .email = select_.text(3),
                .city = select_.text(4),
                .about = select_.text(5),
                .digest = static_cast<std::uint64_t>(select_.integer(6))};
    }

    void travel() const {
        if (distance_ > distance_.zero()) std::this_thread::sleep_for(distance_ / 2);
    }

    UserDatabase& database_;
    std::chrono::microseconds distance_;
    Connection db_;
    Statement select_ =
        db_.prepare("SELECT id, version, name, email, city, about, digest FROM users WHERE id = ?");
    Statement update_ =
        db_.prepare("UPDATE users SET version = ?, city = ?, digest = ? WHERE id = ?");
    std::uint64_t reads_ = 0;
};

inline UserDatabase::Session UserDatabase::connect(std::chrono::microseconds distance) {
    return Session(*this, distance);
}

}  // namespace example
