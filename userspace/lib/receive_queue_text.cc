// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "receive_queue_text.h"

#include <string>
#include <type_traits>

namespace sockrepair {

namespace {

constexpr internal::DescribedMember<ReceivedDatagram> kMembers[] = {
    internal::described<&ReceivedDatagram::family>("family"),
    internal::described<&ReceivedDatagram::source>("source"),
    internal::described<&ReceivedDatagram::destination>("destination"),
    internal::described<&ReceivedDatagram::ifindex>("ifindex"),
    internal::described<&ReceivedDatagram::device>("device"),
    internal::described<&ReceivedDatagram::local>("local"),
    internal::described<&ReceivedDatagram::hop_limit>("hop_limit"),
    internal::described<&ReceivedDatagram::traffic_class>("traffic_class"),
    internal::described<&ReceivedDatagram::flow_label>("flow_label"),
    internal::described<&ReceivedDatagram::mark>("mark"),
    internal::described<&ReceivedDatagram::priority>("priority"),
    internal::described<&ReceivedDatagram::timestamp>("timestamp"),
    internal::described<&ReceivedDatagram::hardware_timestamp>("hardware_timestamp"),
    internal::described<&ReceivedDatagram::gro_size>("gro_size"),
    internal::described<&ReceivedDatagram::fragment_size>("fragment_size"),
    internal::described<&ReceivedDatagram::checksum>("checksum"),
    internal::described<&ReceivedDatagram::headers>("headers"),
    internal::described<&ReceivedDatagram::next_header>("next_header"),
    internal::described<&ReceivedDatagram::l3slave>("l3slave"),
    internal::described<&ReceivedDatagram::peeked>("peeked"),
    internal::described<&ReceivedDatagram::payload>("payload"),
};

// Every member of ReceivedDatagram has a row above: a new one breaks this line until it has.
template <typename Datagram>
constexpr auto count_members(const Datagram& datagram) {
  [[maybe_unused]] const auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15,
                                m16, m17, m18, m19, m20, m21] = datagram;
  return std::size_t{21};
}
static_assert(std::is_same_v<decltype(count_members(ReceivedDatagram())), std::size_t> &&
              std::size(kMembers) == 21);

}  // namespace

std::string Loss::describe() const {
  std::string where = subject;
  if (index) where += " " + std::to_string(*index);
  return where + ": " + what;
}

const char* method_name(Method method) {
  return method == Method::kKernel ? "kernel" : "stock";
}

std::string ReceivedDatagram::describe() const {
  return internal::describe_members(kMembers, *this);
}

std::vector<std::string> differences(const ReceivedDatagram& a, const ReceivedDatagram& b) {
  return internal::different_members(kMembers, a, b);
}

namespace internal {

std::span<const DescribedMember<ReceivedDatagram>> datagram_members() {
  return kMembers;
}

}  // namespace internal

}  // namespace sockrepair
