// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#ifndef SOCKREPAIR_TOOLS_COMMAND_H_
#define SOCKREPAIR_TOOLS_COMMAND_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "selection.h"
#include "sockrepair/loss.h"
#include "sockrepair/result.h"
#include "sockrepair/tcp_socket.h"

// The verbs of `sockrepair`, each with what its options were parsed into. Each prints its report to
// stdout, and what is lost and what has failed to stderr.
namespace sockrepair::tool {

// Exit statuses; sockrepair(1) has the same table.
enum ExitStatus : int {
  kDone = 0,
  kFailed = 1,  // and everything is as it was
  kUsage = 2,
  kBadImage = 3,         // damaged, hostile, or of another version
  kIncomplete = 4,       // check: a feature is missing; --strict: something would be lost
  kCannotExecute = 126,  // PROGRAM, as shells have it
  kNoProgram = 127,
  kSignalled = 128,  // + number of the signal
};

enum class Afterwards { kLeaveRunning, kClose, kKill };

struct DumpCommand {
  pid_t pid = 0;
  Selection selection;
  std::string file;  // "-": stdout
  Afterwards afterwards = Afterwards::kLeaveRunning;
  bool drop_waiting = false;  // connections that wait for accept(2)
  bool time_wait = false;     // with connections that are over, at the same addresses
  bool lock = true;
  // Seconds that the lock stays after kClose and kKill, until restore; as the user said.
  std::optional<unsigned> hold;
  unsigned hold_seconds() const { return hold.value_or(60); }
  bool strict = false;
  bool json = false;
  double patience = 5;  // seconds
};
int run_dump(const DumpCommand& command);

enum class HandOver { kSameNumbers, kListenFds, kSendTo, kInto };

struct RestoreCommand {
  std::string file;                // "-": stdin
  std::vector<std::string> netns;  // "[COOKIE=]NAME|PATH|PID"
  HandOver hand_over = HandOver::kSameNumbers;
  std::string path;                  // kSendTo
  pid_t pid = 0;                     // kInto
  std::vector<std::string> program;  // of the first two; never empty then
  Which which = Which::kAll;
  TcpRestoreOptions tcp;
  bool lock = true;
  bool strict = false;
};
// With a program it does not return when it succeeds.
int run_restore(const RestoreCommand& command);

struct ShowCommand {
  std::string file;
  bool json = false;
};
int run_show(const ShowCommand& command);

struct CheckCommand {
  bool json = false;
};
int run_check(const CheckCommand& command);

struct DetachedCommand {
  bool json = false;
};
int run_detached(const DetachedCommand& command);

// What the verbs share.

// For a terminal, whatever `text` holds: bytes that are not printable ASCII as \xNN.
std::string printable(const std::string& text);
// "sockrepair: TEXT" on stderr, made printable.
void complain(const std::string& text);
// Complains, and gives `status`.
int fail(const Error& error, int status = kFailed);

// `status`, or kFailed with a complaint if something of stdout did not get where it was to go. For
// verbs that do nothing but print.
int printed(int status);

// `text` as a JSON string, with its quotes; bytes above 0x7e as \u00NN.
std::string json_string(const std::string& text);

// From here on SIGINT, SIGTERM and SIGHUP are only noted, each the first time.
void catch_signals();
// EINTR once one has come.
Result<void> check_signals();
// kSignalled + its number if one has come, else `status`.
int signal_status(int status);

}  // namespace sockrepair::tool

#endif  // SOCKREPAIR_TOOLS_COMMAND_H_
