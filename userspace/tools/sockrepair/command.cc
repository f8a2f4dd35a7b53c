// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "command.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

namespace sockrepair::tool {

namespace {

volatile sig_atomic_t caught = 0;

void note_signal(int number) {
  caught = number;
}

bool is_printable(char c) {
  return c >= ' ' && c <= '~';
}

std::string hex_byte(char c) {
  char text[3];
  snprintf(text, sizeof(text), "%02x", static_cast<unsigned char>(c));
  return text;
}

}  // namespace

std::string printable(const std::string& text) {
  std::string result;
  for (char c : text) result += is_printable(c) ? std::string(1, c) : "\\x" + hex_byte(c);
  return result;
}

void complain(const std::string& text) {
  fprintf(stderr, "sockrepair: %s\n", printable(text).c_str());
}

int fail(const Error& error, int status) {
  complain(error.describe());
  return signal_status(status);
}

int printed(int status) {
  errno = 0;
  if (fflush(stdout) == 0 && ferror(stdout) == 0) return status;
  return fail(Error{errno == 0 ? EIO : errno, "write(stdout)"});
}

std::string json_string(const std::string& text) {
  std::string json = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\')
      json += std::string("\\") + c;
    else
      json += is_printable(c) ? std::string(1, c) : "\\u00" + hex_byte(c);
  }
  return json + "\"";
}

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = note_signal;
  // The second one ends the program; what it holds is then put back by the library's guardian.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (int number : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(number, &action, nullptr);
}

Result<void> check_signals() {
  if (caught == 0) return {};
  return Error{EINTR, "signal " + std::to_string(caught)};
}

int signal_status(int status) {
  return caught == 0 ? status : kSignalled + caught;
}

}  // namespace sockrepair::tool
