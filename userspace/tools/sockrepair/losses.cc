// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "losses.h"

#include <errno.h>

#include <algorithm>
#include <cstddef>
#include <unordered_map>
#include <utility>

namespace sockrepair::tool {

std::string numbers_text(std::vector<int> numbers) {
  std::sort(numbers.begin(), numbers.end());
  std::string text = numbers.size() == 1 ? "descriptor" : "descriptors";
  for (std::size_t i = 0; i < numbers.size();) {
    std::size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    // Two are not a range.
    if (last == i + 1) last = i;
    text += (i == 0 ? " " : ", ") + std::to_string(numbers[i]);
    if (last != i) text += "-" + std::to_string(numbers[last]);
    i = last + 1;
  }
  return text;
}

std::string Losses::One::text() const {
  if (!of_socket()) return what;
  return (numbers.empty() ? "socket" : numbers_text(numbers)) +
         (name.empty() ? "" : " (" + name + ")") + ": " + what;
}

void Losses::add(std::vector<int> numbers, std::string name, std::string what) {
  all_.push_back({std::move(numbers), std::move(name), std::move(what)});
}

void Losses::add(std::string what) {
  all_.push_back({{}, {}, std::move(what)});
}

Error Losses::strict_error() const {
  const std::size_t count = all_.size();
  return Error{ENOTRECOVERABLE, "--strict, and " + std::to_string(count) +
                                    (count == 1 ? " thing" : " things") + " would be lost"};
}

std::vector<std::string> Losses::each() const {
  std::vector<std::string> lines;
  for (const One& one : all_) lines.push_back(one.text());
  return lines;
}

std::vector<std::string> Losses::by_cause() const {
  struct Cause {
    const One* first;
    std::size_t sockets;
    std::vector<int> numbers;
  };
  std::vector<Cause> causes;
  std::unordered_map<std::string, std::size_t> known;
  for (const One& one : all_) {
    std::size_t at = causes.size();
    if (one.of_socket()) at = known.try_emplace(one.what, at).first->second;
    if (at == causes.size()) causes.push_back({&one, 0, {}});
    ++causes[at].sockets;
    causes[at].numbers.insert(causes[at].numbers.end(), one.numbers.begin(), one.numbers.end());
  }
  std::vector<std::string> lines;
  for (Cause& cause : causes) {
    if (cause.sockets == 1) {
      lines.push_back(cause.first->text());
      continue;
    }
    std::string line = std::to_string(cause.sockets) + " sockets";
    if (!cause.numbers.empty()) line += ", " + numbers_text(std::move(cause.numbers));
    lines.push_back(line + ": " + cause.first->what);
  }
  return lines;
}

}  // namespace sockrepair::tool
