// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// Whole-process figures of real CRIU beside those of sockrepair, for `make bench-criu`. A process
// with established TCP connections is dumped, killed and restored by each of them in turn; the
// peers are in this process, and stay.
//
//   bench_criu begin
//   connections: 100, in each queue: 64 KiB, medians of so many rounds: 3
//   ...
//   bench_criu json {"loads": [...], "state": {...}}
//   bench_criu end
//
// What is measured is whole commands, from their start to their end, of `sockrepair restore` to the
// first instruction of the program that it becomes. All rounds of a load move a new process; the
// first round counts system calls, and is not timed. After each move every byte has to be there,
// see MovedProcess::verify(): a way that fails once has no figures for that load, but its reason.
// Needs root.
//
//   bench_criu [CONNECTIONS]     only loads of so many, for who works on it

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "call_counter.h"
#include "moved_process.h"
#include "tcp_info_members.h"
#include "trace.h"
#include "try.h"
#include "util/tool.h"
#include "way_to_move.h"

namespace sockrepair::bench {
namespace {

using nlohmann::json;
using test::TemporaryDirectory;

struct Measured {
  Load load;
  int rounds;  // that are timed
};

// CRIU 3.17.1 ends by itself at 1000 descriptors (FD_SET).
constexpr Measured kLoads[] = {
    {{1, 0}, 5},        {{10, 0}, 5},        {{100, 0}, 3},        {{500, 0}, 3},
    {{1, 64 << 10}, 5}, {{10, 64 << 10}, 3}, {{100, 64 << 10}, 3}, {{500, 64 << 10}, 1},
};
// Whose state is compared: a path on which there is something to learn.
constexpr Load kLearned{1, 0, 2 << 20, 2};

// --- one move ---

struct Move {
  Dumped dumped;
  double restore_ms = 0;
  std::size_t restore_peak_kib = 0;
};

// What is looked at on the way.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual Result<void> before_dump(const MovedProcess&) { return {}; }
  virtual void after_dump() {}
  virtual void before_restore() {}
  virtual Result<void> after_restore(const MovedProcess&, pid_t) { return {}; }
};

Result<Move> move(const WayToMove& way, const Load& load, Observer& observer) {
  SOCKREPAIR_TRY_ASSIGN(TemporaryDirectory directory, TemporaryDirectory::create());
  SOCKREPAIR_TRY_ASSIGN(MovedProcess process, MovedProcess::start(load));
  Move result;
  SOCKREPAIR_TRY(observer.before_dump(process));
  SOCKREPAIR_TRY_ASSIGN(result.dumped,
                        process.ns().run([&] { return way.dump(process, directory.file("")); }));
  observer.after_dump();
  SOCKREPAIR_TRY(process.gone());
  observer.before_restore();
  SOCKREPAIR_TRY_ASSIGN(Restored restored,
                        process.ns().run([&] { return way.restore(process, directory.file("")); }));
  SOCKREPAIR_TRY(observer.after_restore(process, restored.process.pid()));
  SOCKREPAIR_TRY_ASSIGN(const Ended ended, process.verify(restored.process));
  result.restore_ms = restored.ms;
  result.restore_peak_kib = restored.peak_kib.value_or(ended.peak_kib);
  return result;
}

// --- system calls ---

struct Calls {
  CallCounter::Calls dump;
  CallCounter::Calls restore;
};

class CallObserver : public Observer {
 public:
  explicit CallObserver(const CallCounter& counter) : counter_(counter) {}
  Result<void> before_dump(const MovedProcess&) override {
    before_ = counter_.calls();
    return {};
  }
  void after_dump() override { calls_.dump = counter_.calls() - before_; }
  void before_restore() override { before_ = counter_.calls(); }
  Result<void> after_restore(const MovedProcess&, pid_t) override {
    calls_.restore = counter_.calls() - before_;
    return {};
  }
  const Calls& calls() const { return calls_; }

 private:
  const CallCounter& counter_;
  CallCounter::Calls before_;
  Calls calls_;
};

Result<Calls> count_calls(const WayToMove& way, const Load& load) {
  SOCKREPAIR_TRY_ASSIGN(CallCounter counter, CallCounter::start());
  CallObserver observer(counter);
  SOCKREPAIR_TRY(move(way, load, observer));
  return observer.calls();
}

// --- figures of a load ---

// A column: how a figure is called, in the table and in JSON.
struct Column {
  const char* heading;
  const char* key;
  int decimals;
};

constexpr Column kColumns[] = {
    {"dump ms", "dump_ms", 1},
    {"frozen ms", "frozen_ms", 1},
    {"restore ms", "restore_ms", 1},
    {"image KiB", "image_kib", 1},
    {"of memory", "image_memory_kib", 1},
    {"dump calls", "dump_calls", 0},
    {"restore calls", "restore_calls", 0},
    {"dump peak", "dump_peak_kib", 0},
    {"restore peak", "restore_peak_kib", 0},
};
constexpr std::size_t kColumnCount = std::size(kColumns);
using Figures = std::array<double, kColumnCount>;  // in the order of kColumns

// All rounds of one way.
struct Rounds {
  Calls calls;
  std::vector<Move> moves;
  std::optional<Error> failure;
};

double kib(std::size_t bytes) {
  return static_cast<double>(bytes) / 1024;
}

double without_time(const CallCounter::Calls& calls) {
  return static_cast<double>(calls.all - calls.of_time);
}

Figures figures_of(const Rounds& rounds) {
  const auto of = [&](auto value) {
    std::vector<double> samples;
    for (const Move& one : rounds.moves) samples.push_back(static_cast<double>(value(one)));
    return median(samples);
  };
  return {
      of([](const Move& m) { return m.dumped.ms; }),
      of([](const Move& m) { return m.dumped.frozen_ms; }),
      of([](const Move& m) { return m.restore_ms; }),
      of([](const Move& m) { return kib(m.dumped.image_bytes); }),
      of([](const Move& m) { return kib(m.dumped.memory_bytes); }),
      without_time(rounds.calls.dump),
      without_time(rounds.calls.restore),
      of([](const Move& m) { return m.dumped.peak_kib; }),
      of([](const Move& m) { return m.restore_peak_kib; }),
  };
}

void print_headings() {
  printf("  %-12s", "");
  for (const Column& column : kColumns) printf(" %13s", column.heading);
  printf("\n");
}

void print_figures(const std::string& name, const Figures& figures) {
  printf("  %-12s", name.c_str());
  for (std::size_t i = 0; i < kColumnCount; ++i)
    printf(" %13.*f", kColumns[i].decimals, figures[i]);
  printf("\n");
}

// How many times as much the first takes.
void print_ratio(const Figures& one, const Figures& other) {
  printf("  %-12s", "ratio");
  for (std::size_t i = 0; i < kColumnCount; ++i) {
    if (other[i] > 0)
      printf(" %13.2f", one[i] / other[i]);
    else
      printf(" %13s", "-");
  }
  printf("\n");
}

// The last lines of the reason, which say most.
std::string shown(const Error& error) {
  constexpr int kLines = 6;
  std::string text = error.describe();
  std::size_t begin = text.size();
  for (int line = 0; line < kLines && begin != std::string::npos; ++line)
    begin = begin == 0 ? std::string::npos : text.rfind('\n', begin - 1);
  if (begin != std::string::npos) text.erase(0, begin + 1);
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 5)
    text.replace(at, 1, "\n    ");
  return text;
}

json measure(const std::vector<std::unique_ptr<WayToMove>>& ways, const Measured& measured) {
  std::vector<Rounds> all(ways.size());
  const auto one_round = [&](std::size_t i, bool timed) -> Result<void> {
    if (!timed) {
      SOCKREPAIR_TRY_ASSIGN(all[i].calls, count_calls(*ways[i], measured.load));
      return {};
    }
    Observer nobody;
    SOCKREPAIR_TRY_ASSIGN(Move done, move(*ways[i], measured.load, nobody));
    all[i].moves.push_back(done);
    return {};
  };
  for (int round = 0; round <= measured.rounds; ++round) {
    for (std::size_t k = 0; k < ways.size(); ++k) {
      // Each way goes first as often as the others.
      const std::size_t i = (k + static_cast<std::size_t>(round)) % ways.size();
      if (all[i].failure) continue;
      Result<void> done = one_round(i, round != 0);
      if (!done) all[i].failure = done.error();
    }
  }

  printf("connections: %zu, in each queue: %zu KiB, medians of so many rounds: %d\n",
         measured.load.connections, measured.load.bytes >> 10, measured.rounds);
  print_headings();
  json rows = json::array();
  std::vector<Figures> figures;
  for (std::size_t i = 0; i < ways.size(); ++i) {
    json row = {{"way", ways[i]->name()}};
    if (all[i].failure) {
      printf("  %-12s FAILED: %s\n", ways[i]->name().c_str(), shown(*all[i].failure).c_str());
      row["failed"] = all[i].failure->describe();
    } else {
      figures.push_back(figures_of(all[i]));
      print_figures(ways[i]->name(), figures.back());
      for (std::size_t c = 0; c < kColumnCount; ++c) row[kColumns[c].key] = figures.back()[c];
      row["dump_calls_of_time"] = all[i].calls.dump.of_time;
      row["restore_calls_of_time"] = all[i].calls.restore.of_time;
    }
    rows.push_back(row);
  }
  if (figures.size() == ways.size()) print_ratio(figures[0], figures[1]);
  fflush(stdout);
  return {{"connections", measured.load.connections},
          {"bytes", measured.load.bytes},
          {"rounds", measured.rounds},
          {"ways", rows}};
}

// --- state ---

class StateObserver : public Observer {
 public:
  Result<void> before_dump(const MovedProcess& process) override {
    SOCKREPAIR_TRY_ASSIGN(before, process.info(process.pid()));
    return {};
  }
  Result<void> after_restore(const MovedProcess& process, pid_t pid) override {
    SOCKREPAIR_TRY_ASSIGN(after, process.info(pid));
    return {};
  }
  tcp_info before{};
  tcp_info after{};
};

json compare_state(const std::vector<std::unique_ptr<WayToMove>>& ways) {
  const auto members = tcp_info_members();
  printf(
      "members of struct tcp_info, of %zu, that one connection has as before the move\n"
      "(round trip of %u ms, %zu KiB in each direction before)\n",
      members.size(), 2 * kLearned.delay_ms, kLearned.warm_up >> 10);
  json rows = json::array();
  std::vector<StateObserver> seen(ways.size());
  std::vector<bool> moved(ways.size());
  for (std::size_t i = 0; i < ways.size(); ++i) {
    Result<Move> done = move(*ways[i], kLearned, seen[i]);
    moved[i] = done.ok();
    json row = {{"way", ways[i]->name()}};
    if (done) {
      const auto same = std::count_if(members.begin(), members.end(), [&](const auto& member) {
        return member.value(seen[i].before) == member.value(seen[i].after);
      });
      printf("  %-20s %3td\n", ways[i]->name().c_str(), same);
      row["same"] = same;
      for (const TcpInfoMember& member : members)
        row["members"][member.name] = {member.value(seen[i].before), member.value(seen[i].after)};
    } else {
      printf("  %-20s FAILED: %s\n", ways[i]->name().c_str(), shown(done.error()).c_str());
      row["failed"] = done.error().describe();
    }
    rows.push_back(row);
  }

  printf("  those that are not the same everywhere, before and after\n  %-20s", "");
  for (const auto& way : ways) printf(" %27s", way->name().c_str());
  printf("\n");
  for (const TcpInfoMember& member : members) {
    const auto differs = [&](std::size_t i) {
      return moved[i] && member.value(seen[i].before) != member.value(seen[i].after);
    };
    bool any = false;
    for (std::size_t i = 0; i < ways.size(); ++i) any = any || differs(i);
    if (!any) continue;
    printf("  %-20s", member.name);
    for (std::size_t i = 0; i < ways.size(); ++i) {
      std::string text = "same";
      if (!moved[i]) text = "-";
      if (differs(i)) {
        text = std::to_string(member.value(seen[i].before)) + " > " +
               std::to_string(member.value(seen[i].after));
      }
      printf(" %27s", text.c_str());
    }
    printf("\n");
  }
  return {{"members", members.size()}, {"ways", rows}};
}

// --- all ---

bool has_failure(const json& rows) {
  return std::any_of(rows.begin(), rows.end(),
                     [](const json& row) { return row.contains("failed"); });
}

// What a command without memory of its own would be said to have.
Result<std::size_t> least_peak_kib() {
  SOCKREPAIR_TRY_ASSIGN(Child nothing, Child::start({"true"}, {}));
  SOCKREPAIR_TRY_ASSIGN(const Ended ended, nothing.succeed(test::Deadline::after(test::kPatience)));
  return ended.peak_kib;
}

// `connections`: only loads of so many; 0: all.
int run(std::size_t connections) {
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) fail("PR_SET_CHILD_SUBREAPER");
  std::vector<std::unique_ptr<WayToMove>> ways;
  ways.push_back(move_by_criu());
  ways.push_back(move_by_sockrepair(""));
  printf("bench_criu begin\n");
  // What CRIU asks a kernel once after each boot, and keeps in /run/criu.kdat, belongs to no load.
  // A failure comes again, and is told, with the first of them.
  Observer nobody;
  for (const auto& way : ways) static_cast<void>(move(*way, Load{}, nobody));
  json all;
  all["loads"] = json::array();
  for (const Measured& measured : kLoads)
    if (connections == 0 || connections == measured.load.connections)
      all["loads"].push_back(measure(ways, measured));
  Result<std::size_t> least = least_peak_kib();
  if (!least) fail(least.error().describe());
  printf("peaks are not told apart below %zu KiB, what the benchmark itself has\n", *least);
  all["least_peak_kib"] = *least;
  // The path is the same, so nothing need be halved.
  ways.push_back(move_by_sockrepair("whole"));
  all["state"] = compare_state(ways);
  printf("bench_criu json %s\n", all.dump().c_str());
  printf("bench_criu end\n");
  bool failed = has_failure(all["state"]["ways"]);
  for (const json& load : all["loads"]) failed = failed || has_failure(load["ways"]);
  return failed ? 1 : 0;
}

}  // namespace
}  // namespace sockrepair::bench

int main(int argc, char** argv) {
  return sockrepair::bench::run(argc > 1 ? strtoul(argv[1], nullptr, 10) : 0);
}
