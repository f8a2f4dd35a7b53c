// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "way_to_move.h"

#include <errno.h>
#include <google/protobuf/unknown_field_set.h>
#include <string.h>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "proc_fs.h"
#include "try.h"

namespace sockrepair::bench {

namespace {

using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;
using test::Deadline;

// For a command. About ten times what it takes at most under TCG.
constexpr std::chrono::seconds kPatience{60};

// Of those files whose name begins so.
std::size_t size_of_files(const std::string& directory, const std::string& prefix) {
  std::size_t size = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    if (entry.path().filename().string().starts_with(prefix)) size += entry.file_size();
  return size;
}

// --- CRIU ---

const UnknownField* find_field(const UnknownFieldSet& message, int number,
                               UnknownField::Type type) {
  for (int i = 0; i < message.field_count(); ++i)
    if (message.field(i).number() == number && message.field(i).type() == type)
      return &message.field(i);
  return nullptr;
}

// stats-dump: two magic numbers and a size, of 32 bits each, and the message StatsEntry, whose
// field 1, DumpStatsEntry, begins with freezing_time and frozen_time in microseconds.
Result<double> read_frozen_ms(const std::string& file) {
  constexpr std::size_t kHead = 3 * sizeof(std::uint32_t);
  SOCKREPAIR_TRY_ASSIGN(const std::string content, sockrepair::internal::read_small_file(file));
  UnknownFieldSet stats, dump;
  const UnknownField* entry = nullptr;
  if (content.size() > kHead &&
      stats.ParseFromArray(content.data() + kHead, static_cast<int>(content.size() - kHead)))
    entry = find_field(stats, 1, UnknownField::TYPE_LENGTH_DELIMITED);
  if (entry == nullptr || !dump.ParseFromArray(entry->length_delimited().data(),
                                               static_cast<int>(entry->length_delimited().size())))
    return Error{EPROTO, file + " is not a record of CRIU's times"};
  const UnknownField* freezing = find_field(dump, 1, UnknownField::TYPE_VARINT);
  const UnknownField* frozen = find_field(dump, 2, UnknownField::TYPE_VARINT);
  if (freezing == nullptr || frozen == nullptr)
    return Error{EPROTO, file + " does not say how long the process was frozen"};
  return static_cast<double>(freezing->varint() + frozen->varint()) / 1000;
}

class Criu : public WayToMove {
 public:
  std::string name() const override { return "criu"; }

  Result<Dumped> dump(const MovedProcess& process, const std::string& directory) const override {
    const std::string images = directory + "/images", logs = directory + "/logs";
    std::filesystem::create_directory(images);
    std::filesystem::create_directory(logs);
    SOCKREPAIR_TRY_ASSIGN(
        Child command,
        Child::start({"criu", "dump", "-t", std::to_string(process.pid()), "-D", images, "-W", logs,
                      "-o", "dump.log", "--tcp-established", "--network-lock", "nftables"},
                     {.pipes = false, .preload = shim()}));
    SOCKREPAIR_TRY_ASSIGN(const Ended ended, with_log(command.succeed(Deadline::after(kPatience)),
                                                      logs + "/dump.log"));
    Dumped dumped;
    dumped.ms = command.milliseconds();
    dumped.peak_kib = ended.peak_kib;
    SOCKREPAIR_TRY_ASSIGN(dumped.frozen_ms, read_frozen_ms(logs + "/stats-dump"));
    dumped.image_bytes = size_of_files(images, "");
    dumped.memory_bytes = size_of_files(images, "pages-");
    return dumped;
  }

  Result<Restored> restore(const MovedProcess& process,
                           const std::string& directory) const override {
    const std::string images = directory + "/images", logs = directory + "/logs";
    SOCKREPAIR_TRY_ASSIGN(Child command,
                          Child::start({"criu", "restore", "-d", "-D", images, "-W", logs, "-o",
                                        "restore.log", "--tcp-established"},
                                       {.pipes = false, .preload = shim()}));
    SOCKREPAIR_TRY_ASSIGN(const Ended ended, with_log(command.succeed(Deadline::after(kPatience)),
                                                      logs + "/restore.log"));
    const double ms = command.milliseconds();
    return Restored{Child::adopt(process.pid()), ms, ended.peak_kib};
  }

 private:
  static std::string shim() {
    std::error_code failed;
    return std::filesystem::read_symlink("/proc/self/exe", failed).parent_path() /
           "bench_criu_shim.so";
  }

  // What CRIU has to say of an error is in its log.
  static Result<Ended> with_log(Result<Ended> ended, const std::string& log) {
    if (ended) return ended;
    Result<std::string> text = sockrepair::internal::read_small_file(log);
    return Error{ended.error().code, ended.error().what + (text ? *text : "")};
  }
};

// --- sockrepair ---

class Sockrepair : public WayToMove {
 public:
  explicit Sockrepair(std::string congestion) : congestion_(std::move(congestion)) {}

  std::string name() const override {
    return congestion_.empty() ? "sockrepair" : "sockrepair, " + congestion_;
  }

  Result<Dumped> dump(const MovedProcess& process, const std::string& directory) const override {
    const std::string image = directory + "/image";
    SOCKREPAIR_TRY_ASSIGN(
        Child command, Child::start({"sockrepair", "dump", "--pid", std::to_string(process.pid()),
                                     "--kill", "--json", "-o", image},
                                    {}));
    SOCKREPAIR_TRY_ASSIGN(const Ended ended, command.succeed(Deadline::after(kPatience)));
    Dumped dumped;
    dumped.ms = command.milliseconds();
    dumped.peak_kib = ended.peak_kib;
    const auto said = nlohmann::json::parse(command.out(), nullptr, false);
    if (!said.is_object() || !said.contains("stopped_us"))
      return Error{EPROTO, "not sockrepair's report: " + command.out()};
    dumped.frozen_ms = said["stopped_us"].get<double>() / 1000;
    dumped.image_bytes = size_of_files(directory, "image");
    return dumped;
  }

  Result<Restored> restore(const MovedProcess& process,
                           const std::string& directory) const override {
    std::vector<std::string> argv = {"sockrepair", "restore"};
    if (!congestion_.empty()) argv.insert(argv.end(), {"--congestion", congestion_});
    argv.insert(argv.end(), {directory + "/image", "--"});
    for (const std::string& word : process.resume_command()) argv.push_back(word);
    SOCKREPAIR_TRY_ASSIGN(Child command, Child::start(argv, {.pipes = true, .preload = {}}));
    SOCKREPAIR_TRY(command.hear('r', Deadline::after(kPatience)));
    const double ms = command.milliseconds();
    return Restored{std::move(command), ms, std::nullopt};
  }

 private:
  std::string congestion_;
};

}  // namespace

std::unique_ptr<WayToMove> move_by_criu() {
  return std::make_unique<Criu>();
}

std::unique_ptr<WayToMove> move_by_sockrepair(const std::string& congestion) {
  return std::make_unique<Sockrepair>(congestion);
}

}  // namespace sockrepair::bench
