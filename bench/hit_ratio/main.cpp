#include <algorithm>
#include <cstdio>
#include <exception>
#include <span>
#include <string_view>

#include "log_tool.hpp"
#include "trace_tool.hpp"

namespace {

constexpr const char* usage =
    R"usage(usage: hit_ratio [option...] FILE
       hit_ratio --traces FOLDER [option...]

What a cache would miss, by policy and capacity, on the requests in a log. FILE is "-" for standard
input, and may be compressed with zstd or gzip. Lines without a key are counted and left out.

  --format NAME         lines (a key a line), csv, u32 or u32s (little-endian numbers, the latter
                        with sizes, which are ignored); else what the file's name ends with says
  --column N|NAME       csv: where the key is, counted from 1, or as the first line calls it
  --delimiter C         csv: another than a comma; also tab, and blanks for any number of them
  --header              the first line is no request
  --policy NAME         only this one; may be repeated
  --sizes LIST          capacities, in entries or in percent of the keys: 1000,5%,0.1%..50%/12
                        (12 from 0.1 % to 50 %)
  --most N              keep at most so many requests (8388608), 8 bytes each; if there are more,
                        those of a sample of the keys, by which the misses are estimated (SHARDS)
  --exact               keep them all
  --rate R              begin with this share of the keys, such as 0.01
  --csv FILE            write policy,capacity,requests,misses,miss_ratio,error; "-" in place of the
  --json FILE           table
  --plot FILE           draw the curves, as .svg or .png, with gnuplot; --title TEXT above them
  --threads N           policies at a time; as many as there are cores unless given

With --traces, traces are replayed exactly, by policies alone or in caches. By itself, prints miss
ratios of every trace in FOLDER at several sizes. With --expected, compares with known miss counts,
and fails unless every comparable row is exact. Policies have the names that they have by itself,
and there is S3-FIFO-paper, which asks for two hits where ours asks for one: files of known miss
counts call it S3-FIFO, and ours S3-FIFO-t1.

  --traces FOLDER       NAME.u32, NAME.u32s, plain or .zst
  --expected FILE       rows to reproduce, with the bare policy and with a cache; may be repeated
  --random-band FILE    check Random (mean of 5 seeds) within 1.5 % of the misses in its
                        rows "Random-uniform(mean of 5)"; may be repeated
  --policy NAME         only this one; may be repeated
  --trace NAME          only this one; may be repeated
  --sizes LIST          capacities of the table: 0.1%,10% of the distinct objects, or objects
  --only bare|cache     leave out the other
  --threads N           traces at a time; as many as there are cores unless given
  --csv                 the table as trace,policy,cache_size_objects,requests,misses,miss_ratio
)usage";

}  // namespace

int main(int count, char** arguments) {
    using namespace hit_ratio;
    try {
        const auto all = std::span<char*>(arguments, static_cast<std::size_t>(count)).subspan(1);
        const auto given = [&](std::string_view option) {
            return std::find(all.begin(), all.end(), option) != all.end();
        };
        if (given("--help")) {
            std::fputs(usage, stdout);
            return 0;
        }
        return given("--traces") ? run(parse_trace_options(all)) : run(parse_log_options(all));
    } catch (const UsageError& error) {
        std::fprintf(stderr, "hit_ratio: %s\n\n%s", error.what(), usage);
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hit_ratio: %s\n", error.what());
        return 1;
    }
}
