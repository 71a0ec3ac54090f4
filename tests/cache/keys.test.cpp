#include <cctype>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "drey/drey.hpp"
#include "support/catch.hpp"

/// What may be a key, and what may be asked for in its place.

namespace {

/// A key that only moves.
class Handle {
public:
    explicit Handle(int number) : number_(std::make_unique<int>(number)) {}
    int number() const { return *number_; }
    bool operator==(const Handle& other) const { return number() == other.number(); }

private:
    std::unique_ptr<int> number_;
};
struct HandleHash {
    using is_transparent = void;
    std::size_t operator()(const Handle& key) const {
        return static_cast<std::size_t>(key.number());
    }
    std::size_t operator()(int key) const { return static_cast<std::size_t>(key); }
};
struct HandleEqual {
    using is_transparent = void;
    bool operator()(const Handle& a, const Handle& b) const { return a == b; }
    bool operator()(const Handle& a, int b) const { return a.number() == b; }
};

/// A text that counts how often one is made of something else.
struct Name {
    static inline int made = 0;
    std::string text;
    explicit Name(std::string_view from) : text(from) { ++made; }
    operator std::string_view() const { return text; }  // NOLINT
    bool operator==(const Name& other) const { return text == other.text; }
};

/// Ignores case, takes the salt.
struct FoldedHash {
    using is_transparent = void;
    static inline int calls = 0;
    std::uint64_t operator()(std::string_view key, std::uint64_t salt) const {
        ++calls;
        std::string folded(key);
        for (char& c : folded) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        return drey::DefaultHash{}(folded, salt);
    }
};
struct FoldedEqual {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const {
        if (a.size() != b.size()) return false;
        for (std::size_t i = 0; i < a.size(); ++i)
            if (std::tolower(static_cast<unsigned char>(a[i])) !=
                std::tolower(static_cast<unsigned char>(b[i])))
                return false;
        return true;
    }
};

enum class Colour { red, green };

}  // namespace

TEMPLATE_TEST_CASE("keys that only move serve in every call", "[cache]",
                   (drey::Memory<drey::Lru, HandleHash, HandleEqual>),
                   (drey::Local<drey::Sieve, HandleHash, HandleEqual>)) {
    drey::Cache<Handle, std::string, TestType> cache{{.capacity = 4}};
    CHECK(cache.put(Handle(1), "one"));
    CHECK(cache.put_if_absent(Handle(2), "two"));
    CHECK_FALSE(cache.put_if_absent(Handle(2), "deux"));
    CHECK(cache.put(Handle(1), "uno"));
    const Handle one(1);
    CHECK(cache.get(one) == "uno");
    CHECK(cache.find(one).is_hit());
    CHECK(cache.contains(one));
    CHECK(cache.visit(one, [](const std::string& value) { CHECK(value == "uno"); }));
    CHECK(cache.update(Handle(1), [](std::optional<std::string> old) { return *old + "!"; }, {}));
    CHECK(cache.get(one) == "uno!");
    CHECK(cache.get_or_load(Handle(3),
                            [](const Handle& key) { return std::to_string(key.number()); }) == "3");
    CHECK(cache.get_or_load(Handle(3), [] { return std::string("again"); }) == "3");
    CHECK(cache.visit_or_load(
        Handle(4), [] { return std::string("four"); },
        [](const std::string& value) { CHECK(value == "four"); }));
    CHECK(cache.take(Handle(4)) == "four");
    std::size_t seen = 0;
    cache.for_each([&](const Handle&, const std::string&) { ++seen; });
    CHECK(seen == 3);
    CHECK(cache.erase_if([](const Handle& key, const std::string&) { return key.number() == 2; }) ==
          1);
    CHECK(cache.erase(one) == 1);
    for (int i = 10; i < 20; ++i) CHECK(cache.put(Handle(i), "x"));
    CHECK(cache.size() == 4);
    CHECK(cache.clear() == 4);
    CHECK(cache.validate());
}

TEST_CASE("key that only moves survives an update that starts again", "[cache]") {
    drey::Cache<Handle, int, drey::Memory<drey::Lru, HandleHash, HandleEqual>> cache{
        {.capacity = 4}};
    int calls = 0;
    CHECK(cache.update(Handle(1), [&](std::optional<int> old) -> std::optional<int> {
        if (++calls == 1) cache.put(Handle(1), 10);
        return old.value_or(0) + 1;
    }));
    CHECK(calls == 2);
    CHECK(cache.get(Handle(1)) == 11);
}

TEST_CASE("look-up by what hash and equality accept makes no key", "[cache]") {
    drey::Cache<Handle, int, drey::Memory<drey::Lru, HandleHash, HandleEqual>> cache{
        {.capacity = 4}};
    cache.put(Handle(7), 70);
    CHECK(cache.get(7) == 70);
    CHECK(cache.contains(7));
    CHECK(cache.get_or_load(7, [] { return 0; }) == 70);
    CHECK(cache.get_or_load(8, [](const Handle& key) { return key.number() * 10; }) == 80);
    CHECK(cache.take(7) == 70);
    CHECK(cache.erase(8) == 1);
    CHECK_FALSE(cache.visit(8, [](int) {}));
}

TEMPLATE_TEST_CASE("text is looked up by text of any type without making a key", "[cache]",
                   drey::Lru, drey::Local<>) {
    drey::Cache<Name, int, TestType> cache{{.capacity = 4}};
    cache.put(Name("a"), 1);
    Name::made = 0;
    const std::string text = "a";
    const std::string_view view = text;
    const char* const c_string = text.c_str();
    const char array[] = "a";
    CHECK(cache.get(text) == 1);
    CHECK(cache.get(view) == 1);
    CHECK(cache.get(c_string) == 1);
    CHECK(cache.get(array) == 1);
    CHECK(cache.get("a") == 1);
    CHECK(cache.find(view).is_hit());
    CHECK(cache.contains(c_string));
    CHECK(cache.visit("a", [](int) {}));
    CHECK(cache.get_or_load("a", [] { return 0; }) == 1);
    CHECK(cache.get_or_load(view, [] { return 0; }) == 1);
    CHECK(cache.get_or_load(c_string, [] { return 0; }) == 1);
    CHECK(cache.get("b") == std::nullopt);
    CHECK(cache.erase("b") == 0);
    CHECK(cache.take(c_string) == 1);
    CHECK(Name::made == 0);
    CHECK(cache.get_or_load(view, [] { return 2; }) == 2);
    CHECK(Name::made == 1);
    CHECK(cache.get_or_load(c_string, [] { return 0; }) == 2);
    CHECK(cache.get_or_load(
              "b", [](const Name& key) { return static_cast<int>(key.text.size()); }) == 1);
    CHECK(Name::made == 2);
}

TEST_CASE(
    "hash and equality of one's own that declare themselves transparent are taken at their word",
    "[cache]") {
    drey::Cache<std::string, int, drey::Memory<drey::S3Fifo, FoldedHash, FoldedEqual>> cache{
        {.capacity = 4}};
    CHECK(cache.put("Straße", 1));
    CHECK(cache.get(std::string_view("STRAßE")) == 1);
    CHECK(cache.get("straße") == 1);
    CHECK(cache.get(std::string("strasse")) == std::nullopt);
    CHECK(cache.erase(std::string_view("sTrAßE")) == 1);
    CHECK(cache.empty());
}

TEST_CASE("a call hashes its key once", "[cache]") {
    drey::Cache<std::string, int, drey::Memory<drey::S3Fifo, FoldedHash, FoldedEqual>> cache{
        {.capacity = 4}};
    const auto hashes = [](auto&& call) {
        FoldedHash::calls = 0;
        call();
        return FoldedHash::calls;
    };
    CHECK(hashes([&] { cache.put("a", 1); }) == 1);
    CHECK(hashes([&] { cache.put("a", 2); }) == 1);
    CHECK(hashes([&] { cache.get("a"); }) == 1);
    CHECK(hashes([&] { cache.get_or_load("b", [] { return 1; }); }) == 1);
    CHECK(hashes([&] { cache.update("a", [](std::optional<int> v) { return v; }); }) == 1);
    CHECK(hashes([&] {
              for (int i = 0; i < 10; ++i) cache.put(std::to_string(i), i);
          }) == 10);
    CHECK(hashes([&] { cache.take("9"); }) == 1);
    CHECK(hashes([&] { cache.clear(); }) == 0);
}

TEST_CASE("enums, pointers, pairs and tuples are keys", "[cache]") {
    int a = 0, b = 0;
    drey::Cache<Colour, int> colours{{.capacity = 4}};
    colours.put(Colour::green, 1);
    CHECK(colours.get(Colour::green) == 1);
    CHECK_FALSE(colours.contains(Colour::red));
    drey::Cache<const int*, int> pointers{{.capacity = 4}};
    pointers.put(&a, 1);
    CHECK(pointers.get(&a) == 1);
    CHECK_FALSE(pointers.contains(&b));
    CHECK_FALSE(pointers.contains(nullptr));
    drey::Cache<std::pair<int, std::string>, int> pairs{{.capacity = 4}};
    pairs.put({1, "a"}, 1);
    CHECK(pairs.get(std::pair<int, std::string>(1, "a")) == 1);
    CHECK_FALSE(pairs.contains(std::pair<int, std::string>(1, "b")));
    drey::Cache<std::tuple<int, Colour>, int> tuples{{.capacity = 4}};
    tuples.put({1, Colour::red}, 1);
    CHECK(tuples.contains(std::tuple(1, Colour::red)));
    CHECK_FALSE(tuples.contains(std::tuple(2, Colour::red)));
}

TEST_CASE("empty, long and zero-containing texts are keys of their own", "[cache]") {
    drey::Cache<std::string, int> cache{{.capacity = 600}};
    for (std::size_t n = 0; n < 256; ++n) {
        cache.put(std::string(n, 'a'), static_cast<int>(n));
        cache.put(std::string(n, '\0') + "b", static_cast<int>(n) + 1000);
    }
    for (std::size_t n = 0; n < 256; ++n) {
        CHECK(cache.get(std::string(n, 'a')) == static_cast<int>(n));
        CHECK(cache.get(std::string(n, '\0') + "b") == static_cast<int>(n) + 1000);
    }
    CHECK(cache.size() == 512);
}
