// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <string>
#include <type_traits>

#include "describe.h"
#include "sockrepair/udp_send_queue.h"

namespace sockrepair {

namespace {

constexpr internal::DescribedMember<SendQueue> kMembers[] = {
    internal::described<&SendQueue::family>("family"),
    internal::described<&SendQueue::source>("source"),
    internal::described<&SendQueue::source_port>("source_port"),
    internal::described<&SendQueue::destination>("destination"),
    internal::described<&SendQueue::destination_port>("destination_port"),
    internal::described<&SendQueue::oif>("oif"),
    internal::described<&SendQueue::ifindex>("ifindex"),
    internal::described<&SendQueue::hop_limit>("hop_limit"),
    internal::described<&SendQueue::traffic_class>("traffic_class"),
    internal::described<&SendQueue::flow_label>("flow_label"),
    internal::described<&SendQueue::priority>("priority"),
    internal::described<&SendQueue::mark>("mark"),
    internal::described<&SendQueue::txtime>("txtime"),
    internal::described<&SendQueue::tsflags>("tsflags"),
    internal::described<&SendQueue::tskey>("tskey"),
    internal::described<&SendQueue::gso_size>("gso_size"),
    internal::described<&SendQueue::fragsize>("fragsize"),
    internal::described<&SendQueue::dontfrag>("dontfrag"),
    internal::described<&SendQueue::confirm>("confirm"),
    internal::described<&SendQueue::onlink>("onlink"),
    internal::described<&SendQueue::zerocopy>("zerocopy"),
    internal::described<&SendQueue::ip_options>("ip_options"),
    internal::described<&SendQueue::hop_by_hop>("hop_by_hop"),
    internal::described<&SendQueue::routing_dst>("routing_dst"),
    internal::described<&SendQueue::routing>("routing"),
    internal::described<&SendQueue::dst>("dst"),
    internal::described<&SendQueue::payload>("payload"),
};

// Every member of SendQueue has a row above: a new one breaks this line until it has.
template <typename Queue>
constexpr auto count_members(const Queue& queue) {
  [[maybe_unused]] const auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15,
                                m16, m17, m18, m19, m20, m21, m22, m23, m24, m25, m26, m27] = queue;
  return std::size_t{27};
}
static_assert(std::is_same_v<decltype(count_members(SendQueue())), std::size_t> &&
              std::size(kMembers) == 27);

}  // namespace

std::string SendQueue::describe() const {
  return internal::describe_members(kMembers, *this);
}

std::vector<std::string> differences(const SendQueue& a, const SendQueue& b) {
  return internal::different_members(kMembers, a, b);
}

}  // namespace sockrepair
