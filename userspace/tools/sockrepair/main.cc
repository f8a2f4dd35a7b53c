// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
//
// sockrepair: checkpoint and restore of sockets, from the command line.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <climits>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "command.h"

namespace sockrepair::tool {
namespace {

constexpr char kExamples[] = R"(
Take the sockets of a running name server, with every query that still waits,
stop it, look at what was taken, start a new one on the same sockets:

  sockrepair dump --pid $(pidof named) --kill -o named.img
  sockrepair show named.img
  sockrepair restore named.img -- named -f

The same with TCP connections, whose peers do not notice:

  sockrepair dump --pid $(pidof httpd) --kill -o httpd.img
  sockrepair restore httpd.img -- httpd --inherited

What can go wrong on this kernel, before anything is done:

  sockrepair check

"sockrepair VERB --help" has more examples; sockrepair(1) has everything.
Exit status: 0 done; 1 failed, and all is as it was; 2 wrong usage; 3 damaged
image; 4 something is, or with --strict would be, missing; 126, 127 PROGRAM
cannot be run, is not there; 128+N ended by signal N.)";

constexpr char kDumpExamples[] = R"(
The process is stopped while its sockets are read: by the cgroup freezer if it
is alone in its cgroup, else by SIGSTOP. It is put back to what it was, stopped
or running, whatever happens. What cannot be carried is named on stderr.

  sockrepair dump --pid 4711 -o copy.img               # the process goes on
  sockrepair dump --pid 4711 --fd 5 --fd 6 -o two.img  # these sockets only
  sockrepair dump --pid 4711 --kill -o all.img         # nothing comes between
  sockrepair dump --pid 4711 -o - | ssh host 'cat >all.img'

Parts of them; a socket has to match one of each kind of filter:

  sockrepair dump --pid 4711 --tcp --local :80 -o web.img
  sockrepair dump --pid 4711 --connections-only --peer 192.0.2.7 -o peer.img
  sockrepair dump --pid 4711 --listen-only -o new.img  # connections: closed

Connections that are over, and whose peers may not know yet, have no descriptor:

  sockrepair dump --pid 4711 --time-wait --kill -o web.img

Segments of TCP connections are dropped while they are dumped, and after --close
and --kill until "restore" has them, or for --hold seconds; else they would be
answered with a reset. Where the connections go to another host, they have to be
there, and their address, before that.

--close and --kill also take pending errors off the sockets (SO_ERROR, error
queue); should the dump fail after that, the process does not get them.)";

constexpr char kRestoreExamples[] = R"(
       sockrepair restore [OPTIONS] FILE -- PROGRAM [ARG...]
       sockrepair restore [OPTIONS] --send-to PATH FILE
       sockrepair restore [OPTIONS] --into P FILE

One of four ways to hand the sockets over, all or none:

  sockrepair restore all.img -- server --inherited 5    # under the same numbers
  sockrepair restore --listen-fds all.img -- server     # from 3 on, LISTEN_FDS
  sockrepair restore --send-to /run/server.sock all.img # by SCM_RIGHTS
  sockrepair restore --into 4711 all.img                # a living process

The last one is for a program that cannot be given sockets when it begins: the
process that they were dumped from, kept stopped in between, finds them again
under their numbers, and in the epoll instances that watched them:

  kill -STOP 4711
  sockrepair dump --pid 4711 --connections-only --close -o all.img
  sockrepair restore --into 4711 --netns blue all.img
  kill -CONT 4711

In another network namespace, where PROGRAM then runs as well:

  sockrepair restore --netns blue all.img -- server

TCP connections go on where they were. On another path, at another address, or
only as closed ones, to have the program make them anew:

  sockrepair restore --congestion skip all.img -- server
  sockrepair restore --rewrite 10.0.0.1=10.0.0.9 all.img -- server
  sockrepair restore --listen-only all.img -- server

Sockets of several namespaces, by the cookies that "show" prints:

  sockrepair restore --netns 1=blue --netns 4102=/proc/88/ns/net all.img -- server)";

constexpr char kShowExamples[] = R"(
  sockrepair show all.img
  sockrepair show --json all.img | jq '.processes[].sockets[].local')";

constexpr char kCheckExamples[] = R"(
One line a feature: whether it is there and permitted, and if not, what that
costs. Exit status 4 if one is missing.

  sudo sockrepair check
  sockrepair check --json)";

constexpr char kDetachedExamples[] = R"(
Connections of this network namespace that no process has a descriptor of: in a
handshake, not accepted yet, closed and still sending, over and waiting. Each
line says what becomes of one when its address moves. Those that are over come
along with "dump --time-wait", no others.

  sockrepair detached --json | jq '.connections[].peer'
  sudo ip netns exec blue sockrepair detached)";

// A word that is a number from `low` to `high`.
CLI::Validator number_between(long low, long high) {
  return CLI::Range(low, high);
}

void add_which(CLI::App& verb, Which& which) {
  CLI::Option* listening = verb.add_flag_callback(
      "--listen-only", [&which] { which = Which::kListenOnly; },
      "TCP connections are not taken along: they appear closed");
  verb.add_flag_callback(
          "--connections-only", [&which] { which = Which::kConnectionsOnly; },
          "TCP connections and nothing else")
      ->excludes(listening);
}

// What a word is not, for CLI11: nothing if it can be parsed.
template <typename T>
std::string complaint(const Result<T>& parsed) {
  return parsed ? "" : parsed.error().what;
}

void add_filter(CLI::App& verb, const char* name, std::vector<AddressFilter>& filters,
                const char* what) {
  verb.add_option_function<std::vector<std::string>>(
          name,
          [&filters](const std::vector<std::string>& words) {
            for (const std::string& word : words)
              filters.push_back(AddressFilter::parse(word).value());
          },
          std::string(what) + ", port or both; repeatable")
      ->type_name("[ADDRESS][:PORT]")
      ->expected(1)
      ->take_all()
      ->check([](const std::string& word) { return complaint(AddressFilter::parse(word)); });
}

CLI::Option* add_no_lock(CLI::App& verb, bool& lock) {
  return verb.add_flag_callback(
      "--no-lock", [&lock] { lock = false; }, "Do not drop the segments of connections meanwhile");
}

void add_dump(CLI::App& app, DumpCommand& command) {
  CLI::App* dump = app.add_subcommand("dump", "Write the sockets of a process to an image");
  dump->footer(kDumpExamples);
  dump->add_option("--pid", command.pid, "Process to take the sockets from")
      ->required()
      ->type_name("P")
      ->check(number_between(1, INT_MAX));
  dump->add_option("--fd", command.selection.numbers,
                   "Only the socket with this descriptor number; repeatable")
      ->type_name("N")
      ->allow_extra_args(false)
      ->check(number_between(0, INT_MAX));
  CLI::Option* udp = dump->add_flag_callback(
      "--udp", [&command] { command.selection.tcp = false; }, "Only UDP sockets");
  CLI::Option* tcp = dump->add_flag_callback(
      "--tcp", [&command] { command.selection.udp = false; }, "Only TCP sockets");
  tcp->excludes(udp);
  add_which(*dump, command.selection.which);
  add_filter(*dump, "--local", command.selection.local, "Only sockets with this local address");
  add_filter(*dump, "--peer", command.selection.peer, "Only sockets connected to this address");
  dump->add_option("-o,--output", command.file, "Image to write, - for stdout")
      ->required()
      ->type_name("FILE");
  auto set = [&command](Afterwards what) {
    return [&command, what] { command.afterwards = what; };
  };
  CLI::Option* leave = dump->add_flag_callback("--leave-running", set(Afterwards::kLeaveRunning),
                                               "The process keeps its sockets (default)");
  CLI::Option* close =
      dump->add_flag_callback("--close", set(Afterwards::kClose),
                              "Make the process close them; x86-64, not in a frozen cgroup");
  CLI::Option* kill =
      dump->add_flag_callback("--kill", set(Afterwards::kKill), "End the process, by SIGKILL");
  leave->excludes(close)->excludes(kill);
  close->excludes(kill);
  dump->add_flag("--drop-waiting", command.drop_waiting,
                 "Give up connections that no accept(2) has taken yet");
  dump->add_flag("--time-wait", command.time_wait,
                 "With connections that are over, at the same addresses (TIME_WAIT)")
      ->excludes(udp)
      ->excludes("--listen-only");
  CLI::Option* no_lock = add_no_lock(*dump, command.lock);
  dump->add_option("--hold", command.hold,
                   "Seconds that segments stay dropped until restore (default 60)")
      ->type_name("S")
      ->check(number_between(0, 86400))
      ->excludes(no_lock);
  dump->add_option("--patience", command.patience,
                   "Seconds that all threads may take to stop (default 5)")
      ->type_name("S")
      ->check(CLI::Range(0.001, 86400.0));
  dump->add_flag("--strict", command.strict, "Fail, with 4, rather than lose something");
  dump->add_flag("--json", command.json, "Report as JSON");
}

const std::map<std::string, TcpCongestion>& congestion_words() {
  static const std::map<std::string, TcpCongestion> words = {{"capped", TcpCongestion::kCapped},
                                                             {"whole", TcpCongestion::kWhole},
                                                             {"skip", TcpCongestion::kSkip}};
  return words;
}

void add_restore(CLI::App& app, RestoreCommand& command) {
  CLI::App* restore =
      app.add_subcommand("restore", "Make the sockets of an image again and hand them over");
  restore->footer(kRestoreExamples);
  restore->add_option("FILE", command.file, "Image, - for stdin")->required();
  restore
      ->add_option("--netns", command.netns,
                   "Network namespace to restore in: a name of ip-netns(8), a path or a "
                   "process; with COOKIE= for the sockets of one namespace; repeatable")
      ->type_name("[COOKIE=]NS")
      ->expected(1)
      ->take_all();
  CLI::Option* listen = restore->add_flag_callback(
      "--listen-fds", [&command] { command.hand_over = HandOver::kListenFds; },
      "PROGRAM gets them as sd_listen_fds(3) expects");
  CLI::Option* send_to =
      restore
          ->add_option("--send-to", command.path,
                       "Send them to who listens on this unix stream socket; @NAME is abstract")
          ->type_name("PATH")
          ->excludes(listen);
  restore
      ->add_option("--into", command.pid,
                   "Give them to this process, which must not use their numbers; x86-64, not in "
                   "a frozen cgroup")
      ->type_name("P")
      ->check(number_between(1, INT_MAX))
      ->excludes(listen)
      ->excludes(send_to);
  add_which(*restore, command.which);
  restore
      ->add_option_function<std::string>(
          "--congestion",
          [&command](const std::string& word) {
            command.tcp.congestion = congestion_words().at(word);
          },
          "What is kept of the congestion window: capped, half of it (default); whole; skip, "
          "nothing")
      ->type_name("HOW")
      ->check(CLI::IsMember(congestion_words()));
  restore->add_flag("--count-pause", command.tcp.count_pause,
                    "Timers of connections ran on since the dump");
  restore
      ->add_option_function<std::vector<std::string>>(
          "--rewrite",
          [&command](const std::vector<std::string>& words) {
            for (const std::string& word : words)
              command.tcp.rewrites.push_back(parse_rewrite(word).value());
          },
          "Have address NEW where the image has OLD; repeatable")
      ->type_name("OLD=NEW")
      ->expected(1)
      ->take_all()
      ->check([](const std::string& word) { return complaint(parse_rewrite(word)); });
  add_no_lock(*restore, command.lock);
  restore->add_flag("--strict", command.strict, "Fail, with 4, rather than lose something");
}

void add_show(CLI::App& app, ShowCommand& command) {
  CLI::App* show = app.add_subcommand("show", "Print an image");
  show->footer(kShowExamples);
  show->add_option("FILE", command.file, "Image, - for stdin")->required();
  show->add_flag("--json", command.json, "As one JSON document");
}

void add_check(CLI::App& app, CheckCommand& command) {
  CLI::App* check = app.add_subcommand("check", "Say what this kernel can do, and what not");
  check->footer(kCheckExamples);
  check->add_flag("--json", command.json, "As one JSON document");
}

void add_detached(CLI::App& app, DetachedCommand& command) {
  CLI::App* detached = app.add_subcommand("detached", "List TCP connections that no process has");
  detached->footer(kDetachedExamples);
  detached->add_flag("--json", command.json, "As one JSON document");
}

int usage_error(const CLI::App& app, const std::string& text) {
  std::string verb;
  for (const CLI::App* sub : app.get_subcommands()) verb = sub->get_name() + " ";
  complain(text + "; see sockrepair " + verb + "--help");
  return kUsage;
}

int run(int argc, char** argv) {
  // Everything after the first -- is PROGRAM and its arguments, whatever it looks like.
  char** end = argv + argc;
  char** split = std::find_if(argv, end, [](const char* word) { return strcmp(word, "--") == 0; });

  CLI::App app(
      "Takes UDP and TCP sockets out of a running process, with everything queued in\n"
      "both directions, and brings them back in another one.");
  app.name("sockrepair");
  app.footer(kExamples);
  app.set_version_flag("--version", std::string("sockrepair " SOCKREPAIR_VERSION));
  app.require_subcommand(1);
  DumpCommand dump;
  RestoreCommand restore;
  ShowCommand show;
  CheckCommand check;
  DetachedCommand detached;
  add_dump(app, dump);
  add_restore(app, restore);
  add_show(app, show);
  add_check(app, check);
  add_detached(app, detached);
  if (argc > 1 && argv[1][0] != '-' &&
      app.get_subcommands([&](CLI::App* sub) { return sub->get_name() == argv[1]; }).empty())
    return usage_error(app, std::string("no verb '") + argv[1] + "'");
  try {
    app.parse(static_cast<int>(split - argv), argv);
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    return usage_error(app, error.what());
  }

  bool restoring = app.got_subcommand("restore");
  if (split != end && !restoring) return usage_error(app, "-- is for restore only");
  if (dump.hold && dump.afterwards == Afterwards::kLeaveRunning)
    return usage_error(app, "--hold needs --kill or --close: otherwise connections go on at once");
  if (app.got_subcommand("dump")) return run_dump(dump);
  if (app.got_subcommand("show")) return run_show(show);
  if (app.got_subcommand("check")) return run_check(check);
  if (app.got_subcommand("detached")) return run_detached(detached);

  if (split != end) restore.program.assign(split + 1, end);
  if (!restore.path.empty()) restore.hand_over = HandOver::kSendTo;
  if (restore.pid != 0) restore.hand_over = HandOver::kInto;
  const bool starts =
      restore.hand_over != HandOver::kSendTo && restore.hand_over != HandOver::kInto;
  if (!starts && !restore.program.empty())
    return usage_error(app, "either --send-to, --into or PROGRAM gets the sockets");
  if (starts && restore.program.empty()) {
    return usage_error(app, "nobody to get the sockets: -- PROGRAM, --send-to or --into is needed");
  }
  return run_restore(restore);
}

// Makes sure that descriptors 0 to 2 are there. Otherwise images and sockets would come to be them,
// and what is meant for a person would be written into an image, or to a peer. Whoever uses one
// that was not there is told so; PROGRAM finds things as they were.
Result<void> take_standard_descriptors() {
  for (int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(number, F_GETFD) >= 0 || errno != EBADF) continue;
    const int wrong_way = number == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    if (::open("/dev/null", wrong_way | O_CLOEXEC) != number)
      return Error{errno, "open(/dev/null), for descriptor " + std::to_string(number)};
  }
  return {};
}

}  // namespace
}  // namespace sockrepair::tool

int main(int argc, char** argv) {
  try {
    if (auto taken = sockrepair::tool::take_standard_descriptors(); !taken)
      return sockrepair::tool::fail(taken.error());
    return sockrepair::tool::run(argc, argv);
  } catch (const std::bad_alloc&) {
    return sockrepair::tool::fail(sockrepair::Error{ENOMEM, "allocation"});
  }
}
