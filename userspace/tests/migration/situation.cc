// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "migration/situation.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

#include "sockrepair/syscall.h"
#include "util/command.h"

namespace sockrepair::test {

namespace {

struct InfoRow {
  const char* name;
  std::uint64_t (*value)(const tcp_info& info);
};
template <auto Member>
std::uint64_t info_value(const tcp_info& info) {
  return info.*Member;
}
constexpr InfoRow kInfoRows[] = {
    {"state", info_value<&tcp_info::tcpi_state>},
    {"ca_state", info_value<&tcp_info::tcpi_ca_state>},
    {"retransmits", info_value<&tcp_info::tcpi_retransmits>},
    {"probes", info_value<&tcp_info::tcpi_probes>},
    {"backoff", info_value<&tcp_info::tcpi_backoff>},
    {"rto", info_value<&tcp_info::tcpi_rto>},
    {"rtt", info_value<&tcp_info::tcpi_rtt>},
    {"unacked", info_value<&tcp_info::tcpi_unacked>},
    {"sacked", info_value<&tcp_info::tcpi_sacked>},
    {"lost", info_value<&tcp_info::tcpi_lost>},
    {"retrans", info_value<&tcp_info::tcpi_retrans>},
    {"snd_cwnd", info_value<&tcp_info::tcpi_snd_cwnd>},
    {"snd_wnd", info_value<&tcp_info::tcpi_snd_wnd>},
    {"notsent_bytes", info_value<&tcp_info::tcpi_notsent_bytes>},
    {"segs_in", info_value<&tcp_info::tcpi_segs_in>},
    {"segs_out", info_value<&tcp_info::tcpi_segs_out>},
    {"last_data_sent", info_value<&tcp_info::tcpi_last_data_sent>},
    {"last_data_recv", info_value<&tcp_info::tcpi_last_data_recv>},
    {"last_ack_recv", info_value<&tcp_info::tcpi_last_ack_recv>},
    {"total_retrans", info_value<&tcp_info::tcpi_total_retrans>},
    {"bytes_acked", info_value<&tcp_info::tcpi_bytes_acked>},
    {"bytes_received", info_value<&tcp_info::tcpi_bytes_received>},
};

struct QueueRow {
  const char* name;
  unsigned long request;
};
constexpr QueueRow kQueueRows[] = {
    {"not read", SIOCINQ},
    {"not acknowledged", SIOCOUTQ},
    {"not sent", SIOCOUTQNSD},
};

struct LookRow {
  const char* name;
  std::vector<std::string> command;
};
const std::vector<LookRow>& looks() {
  static const std::vector<LookRow> kLooks = {
      {"addresses", {"ip", "-brief", "address"}},
      {"neighbours", {"ip", "-statistics", "neighbour"}},
      {"locks", {"nft", "list", "ruleset"}},
      {"queues", {"tc", "-statistics", "qdisc"}},
      {"devices", {"cat", "/proc/thread-self/net/dev"}},
  };
  return kLooks;
}

std::string indented(const std::string& text) {
  std::istringstream lines(text);
  std::string result;
  for (std::string line; std::getline(lines, line);) result += "    " + line + "\n";
  return result;
}

std::string part(const std::string& name, const std::string& text) {
  return "  " + name + "\n" + indented(text.empty() ? "none" : text);
}

// "name value", pair after pair, of those that have counted something.
std::string counted(std::istream& names, std::istream& values) {
  std::string result;
  for (std::string name, value; names >> name && values >> value;)
    if (value != "0") result += (result.empty() ? "" : " ") + name + " " + value;
  return result;
}

// Of a file like /proc/net/netstat: a line of names, and one of their values, again and again, both
// beginning with what they are about.
std::string counters_in(const char* path) {
  std::ifstream file(path);
  std::string result;
  for (std::string names, values; std::getline(file, names) && std::getline(file, values);) {
    std::istringstream name_words(names);
    std::istringstream value_words(values);
    std::string subject;
    name_words >> subject;
    value_words >> subject;
    const std::string text = counted(name_words, value_words);
    if (!text.empty()) result += subject + " " + text + "\n";
  }
  return result;
}

// Of a file like /proc/net/snmp6: a name and its value a line.
std::string pairs_in(const char* path) {
  std::ifstream file(path);
  return counted(file, file) + "\n";
}

}  // namespace

std::string connection_situation(const Fd& fd) {
  if (!fd) return part("connection", "");
  const Result<tcp_info> info = sys::getsockopt<tcp_info>(fd.get(), IPPROTO_TCP, TCP_INFO);
  if (!info) return part("connection", info.error().describe());
  std::string text;
  for (const InfoRow& row : kInfoRows)
    text += std::string(row.name) + " " + std::to_string(row.value(*info)) + ", ";
  for (const QueueRow& row : kQueueRows) {
    int bytes = 0;
    const Result<void> asked = sys::ioctl(fd.get(), row.request, &bytes);
    text += std::string(row.name) + " " +
            (asked ? std::to_string(bytes) : asked.error().describe()) + ", ";
  }
  text.resize(text.size() - 2);
  return part("connection", text);
}

std::string network_situation() {
  std::string text;
  for (const LookRow& look : looks()) {
    const Result<std::string> output = run_command(look.command);
    text += part(look.name, output ? *output : output.error().describe());
  }
  return text + part("counters", counters_in("/proc/thread-self/net/netstat") +
                                     counters_in("/proc/thread-self/net/snmp") +
                                     pairs_in("/proc/thread-self/net/snmp6"));
}

}  // namespace sockrepair::test
