#include <algorithm>

#include "lookback/packet/summary.hpp"
#include "packet/prefilter_node.hpp"

namespace lookback::packet {

namespace {

using Node = Prefilter::Node;

PrefilterNode joined(Node::Kind kind, PrefilterNode left, PrefilterNode right) {
  auto node = std::make_shared<Node>();
  node->kind = kind;
  // A chain of the same kind stays flat: long lists of hosts would otherwise nest deeply.
  for (PrefilterNode& side :
       std::initializer_list<std::reference_wrapper<PrefilterNode>>{left, right}) {
    if (side->kind == kind) {
      node->children.insert(node->children.end(), side->children.begin(), side->children.end());
    } else {
      node->children.push_back(std::move(side));
    }
  }
  return node;
}

bool may_match_node(const Node& node, const Summary& summary) {
  const auto child_may = [&](const PrefilterNode& child) {
    return may_match_node(*child, summary);
  };
  switch (node.kind) {
    case Node::Kind::network:
      return summary.may_have_network(node.network);
    case Node::Kind::ports:
      return summary.may_have_port_in(node.first_port, node.last_port);
    case Node::Kind::all_of:
      return std::all_of(node.children.begin(), node.children.end(), child_may);
    case Node::Kind::any_of:
      return std::any_of(node.children.begin(), node.children.end(), child_may);
  }
  return true;
}

std::string text_of(const Node& node) {
  switch (node.kind) {
    case Node::Kind::network:
      return (node.network.is_host() ? "host " : "net ") + node.network.to_string();
    case Node::Kind::ports:
      return node.first_port == node.last_port
                 ? fmt::format("port {}", node.first_port)
                 : fmt::format("portrange {}-{}", node.first_port, node.last_port);
    default:
      break;
  }
  std::string text = "(";
  for (const PrefilterNode& child : node.children) {
    if (text.size() > 1) text += node.kind == Node::Kind::all_of ? " and " : " or ";
    text += text_of(*child);
  }
  return text + ")";
}

}  // namespace

PrefilterNode network_node(const Cidr& network) {
  auto node = std::make_shared<Node>();
  node->kind = Node::Kind::network;
  node->network = network;
  return node;
}

PrefilterNode port_node(uint16_t first, uint16_t last) {
  auto node = std::make_shared<Node>();
  node->kind = Node::Kind::ports;
  node->first_port = std::min(first, last);
  node->last_port = std::max(first, last);
  return node;
}

PrefilterNode both(PrefilterNode left, PrefilterNode right) {
  if (left == nullptr) return right;
  if (right == nullptr) return left;
  return joined(Node::Kind::all_of, std::move(left), std::move(right));
}

PrefilterNode either(PrefilterNode left, PrefilterNode right) {
  if (left == nullptr || right == nullptr) return nullptr;
  return joined(Node::Kind::any_of, std::move(left), std::move(right));
}

Prefilter Prefilter::of_expression(std::string_view pcap_filter) {
  Prefilter prefilter;
  prefilter.root_ = parse_prefilter(pcap_filter);
  return prefilter;
}

Prefilter Prefilter::of_networks(std::span<const Cidr> any_of) {
  Prefilter prefilter;
  prefilter.keeps_unread_ = true;
  for (size_t i = 0; i < any_of.size(); ++i) {
    PrefilterNode node = network_node(any_of[i]);
    prefilter.root_ =
        i == 0 ? std::move(node) : either(std::move(prefilter.root_), std::move(node));
  }
  return prefilter;
}

bool Prefilter::may_match(const Summary& summary) const {
  return root_ == nullptr || (keeps_unread_ && summary.has_unread()) || may_match_node(*root_, summary);
}

std::string Prefilter::to_string() const {
  return root_ == nullptr ? "anything" : text_of(*root_);
}

}  // namespace lookback::packet
