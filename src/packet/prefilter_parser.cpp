// Reads pcap-filter(7) just far enough to know what a packet must have. The rule of safety: a
// construct is either understood exactly, or it ends at the next connective of its own depth and
// counts as "anything" (a null node).
//
// Grammar, as libpcap's: "and" and "or" bind equally and to the left, "not" binds tighter; behind a
// connective a bare id takes the qualifiers of the primitive before it ("port 80 or 443").

#include <array>
#include <charconv>
#include <optional>

#include "packet/prefilter_node.hpp"

namespace lookback::packet {

namespace {

constexpr int kDeepest = 100;

template <size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& words) {
  for (const std::string_view candidate : words) {
    if (word == candidate) return true;
  }
  return false;
}

/// These move the place where the rest of the expression looks.
constexpr std::array<std::string_view, 8> kTunnelWords = {"vlan",   "mpls",  "pppoed", "pppoes",
                                                          "geneve", "vxlan", "gtp",    "lane"};
constexpr std::array<std::string_view, 45> kProtocols = {
    "link", "ether", "ppp",   "slip",  "fddi", "tr",    "wlan",  "arp",   "rarp",
    "ip",   "sctp",  "tcp",   "udp",   "icmp", "igmp",  "igrp",  "pim",   "vrrp",
    "carp", "radio", "ip6",   "icmp6", "ah",   "esp",   "atalk", "aarp",  "decnet",
    "lat",  "moprc", "mopdl", "iso",   "esis", "es-is", "isis",  "is-is", "l1",
    "l2",   "iih",   "lsp",   "snp",   "csnp", "psnp",  "clnp",  "stp",   "ipx"};
constexpr std::array<std::string_view, 4> kAddressProtocols = {"ip", "ip6", "arp", "rarp"};
constexpr std::array<std::string_view, 3> kPortProtocols = {"tcp", "udp", "sctp"};

struct Token {
  enum class Kind { word, symbol, end } kind = Kind::end;
  std::string_view text;
};

bool is_word_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == ':' || c == '-' || c == '\\' || c == '$';
}

/// Nothing for a character that pcap-filter does not know.
std::optional<std::vector<Token>> tokens_of(std::string_view text) {
  std::vector<Token> tokens;
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
      ++at;
      continue;
    }
    size_t end = at + 1;
    if (is_word_character(c)) {
      while (end < text.size() && is_word_character(text[end])) ++end;
      tokens.push_back({Token::Kind::word, text.substr(at, end - at)});
    } else if (std::string_view("()[]!&|<>=+*/%^,").find(c) != std::string_view::npos) {
      static constexpr std::array<std::string_view, 8> kDouble = {
          "&&", "||", "!=", "<=", ">=", "==", "<<", ">>"};
      if (is_one_of(text.substr(at, 2), kDouble)) ++end;
      tokens.push_back({Token::Kind::symbol, text.substr(at, end - at)});
    } else {
      return std::nullopt;
    }
    at = end;
  }
  return tokens;
}

/// What stands in front of an id.
struct Qualifiers {
  enum class Type { unknown, host, net, port, portrange };
  Type type = Type::unknown;
};

/// Decimal without leading zeros: libpcap reads those as octal.
std::optional<unsigned> number_of(std::string_view text, unsigned largest) {
  if (text.empty() || text.size() > 5 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > largest)
    return std::nullopt;
  return value;
}

/// "10.1", "192.168.1", "10.0.0.1": the parts there are, as bytes of an address.
struct Dotted {
  std::array<std::byte, 4> bytes{};
  unsigned parts = 0;
};
std::optional<Dotted> dotted_of(std::string_view text) {
  Dotted dotted;
  for (;;) {
    const size_t dot = text.find('.');
    const auto part = number_of(text.substr(0, dot), 255);
    if (!part || dotted.parts == 4) return std::nullopt;
    dotted.bytes[dotted.parts++] = static_cast<std::byte>(*part);
    if (dot == std::string_view::npos) break;
    text.remove_prefix(dot + 1);
  }
  if (dotted.parts < 2)
    return std::nullopt;  // a bare number, whose meaning changed between versions of libpcap
  return dotted;
}

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  PrefilterNode parse() {
    Qualifiers none;
    PrefilterNode node = expression(none, 0);
    return failed_ || at_ != tokens_.size() ? nullptr : node;
  }

 private:
  [[nodiscard]] const Token& peek(size_t ahead = 0) const {
    static const Token kEnd;
    return at_ + ahead < tokens_.size() ? tokens_[at_ + ahead] : kEnd;
  }
  [[nodiscard]] bool next_is(std::string_view text, size_t ahead = 0) const {
    return peek(ahead).kind != Token::Kind::end && peek(ahead).text == text;
  }
  [[nodiscard]] bool is_and(size_t ahead = 0) const {
    return next_is("and", ahead) || next_is("&&", ahead);
  }
  [[nodiscard]] bool is_or(size_t ahead = 0) const {
    return next_is("or", ahead) || next_is("||", ahead);
  }
  [[nodiscard]] bool is_not() const { return next_is("not") || next_is("!"); }
  [[nodiscard]] bool is_boundary() const {
    return peek().kind == Token::Kind::end || is_and() || is_or() || next_is(")");
  }
  bool take(std::string_view text) {
    if (!next_is(text)) return false;
    ++at_;
    return true;
  }

  /// `last` holds the qualifiers that a bare id would take: on entry those from outside, on exit
  /// those of the last primitive.
  PrefilterNode expression(Qualifiers& last, int depth) {
    PrefilterNode node = term(last, depth);
    while (!failed_ && (is_and() || is_or())) {
      const bool conjunction = is_and();
      ++at_;
      PrefilterNode right = term(last, depth);
      node = conjunction ? both(std::move(node), std::move(right))
                         : either(std::move(node), std::move(right));
    }
    return node;
  }

  PrefilterNode term(Qualifiers& last, int depth) {
    if (depth > kDeepest) {
      failed_ = true;
      return nullptr;
    }
    if (is_not()) {
      ++at_;
      (void)term(last, depth + 1);
      return nullptr;
    }
    PrefilterNode node;
    if (take("(")) {
      Qualifiers inside = last;
      node = expression(inside, depth + 1);
      if (!take(")")) failed_ = true;
      last = Qualifiers{};
    } else {
      node = primitive(last, depth);
    }
    if (is_boundary()) return node;
    // More of it than was understood: arithmetic, most likely.
    last = Qualifiers{};
    skip_to_boundary();
    return nullptr;
  }

  /// Up to the next connective or closing parenthesis of this depth.
  void skip_to_boundary() {
    int open = 0;
    for (; peek().kind != Token::Kind::end; ++at_) {
      if (next_is("(") || next_is("[")) ++open;
      if (open == 0 && is_boundary()) return;
      if (next_is(")") || next_is("]")) --open;
    }
  }

  PrefilterNode primitive(Qualifiers& last, int depth) {
    if (peek().kind != Token::Kind::word) {
      last = Qualifiers{};
      return nullptr;  // a sign, or nothing where something should be
    }
    std::string_view protocol;
    bool qualified = false;
    if (is_one_of(peek().text, kProtocols)) {
      protocol = peek().text;
      ++at_;
      if (is_boundary()) {  // a protocol alone: summaries know no protocols
        last = Qualifiers{};
        return nullptr;
      }
    }
    if (next_is("src") || next_is("dst")) {
      qualified = true;
      ++at_;
      if ((is_and() || is_or()) && (next_is("src", 1) || next_is("dst", 1))) at_ += 2;
    }
    Qualifiers qualifiers;
    qualifiers.type = Qualifiers::Type::host;  // what "src 10.0.0.1" means
    bool typed = true;
    if (next_is("host")) {
      qualifiers.type = Qualifiers::Type::host;
    } else if (next_is("net")) {
      qualifiers.type = Qualifiers::Type::net;
    } else if (next_is("port")) {
      qualifiers.type = Qualifiers::Type::port;
    } else if (next_is("portrange")) {
      qualifiers.type = Qualifiers::Type::portrange;
    } else {
      typed = false;
    }
    if (typed) ++at_;
    qualified = qualified || typed;
    if (!qualified &&
        !protocol.empty()) {  // "ip proto", "ether[0]", "ip6 protochain", "ip broadcast"
      last = Qualifiers{};
      skip_to_boundary();
      return nullptr;
    }
    if (qualified) {
      const bool ports = qualifiers.type == Qualifiers::Type::port ||
                         qualifiers.type == Qualifiers::Type::portrange;
      const bool known = protocol.empty() || (ports ? is_one_of(protocol, kPortProtocols)
                                                    : is_one_of(protocol, kAddressProtocols));
      if (!known) qualifiers.type = Qualifiers::Type::unknown;
      last = qualifiers;
    }
    return id(last, depth);
  }

  /// An id, or several of them in parentheses, under `qualifiers`.
  PrefilterNode id(Qualifiers qualifiers, int depth) {
    if (depth > kDeepest) {
      failed_ = true;
      return nullptr;
    }
    if (is_not()) {
      ++at_;
      (void)id(qualifiers, depth + 1);
      return nullptr;
    }
    if (take("(")) {
      PrefilterNode node = id(qualifiers, depth + 1);
      while (!failed_ && (is_and() || is_or())) {
        const bool conjunction = is_and();
        ++at_;
        PrefilterNode right = id(qualifiers, depth + 1);
        node = conjunction ? both(std::move(node), std::move(right))
                           : either(std::move(node), std::move(right));
      }
      if (!take(")")) failed_ = true;
      return node;
    }
    if (peek().kind != Token::Kind::word) return nullptr;
    const std::string_view word = peek().text;
    ++at_;
    std::string_view mask;
    if (next_is("/") && peek(1).kind == Token::Kind::word) {
      mask = peek(1).text;
      at_ += 2;
    }
    switch (qualifiers.type) {
      case Qualifiers::Type::host:
        return mask.empty() ? host(word) : nullptr;
      case Qualifiers::Type::net:
        return net(word, mask);
      case Qualifiers::Type::port:
        return mask.empty() ? port(word) : nullptr;
      case Qualifiers::Type::portrange:
        return mask.empty() ? port_range(word) : nullptr;
      case Qualifiers::Type::unknown:
        break;
    }
    return nullptr;
  }

  static PrefilterNode host(std::string_view word) {
    if (const auto dotted = dotted_of(word)) {
      // "host 10.1" is a network for one libpcap and the address 0.0.10.1 for another.
      return dotted->parts == 4 ? network_node({IpAddress::v4(dotted->bytes.data()), 128})
                                : nullptr;
    }
    if (word.find(':') == std::string_view::npos) return nullptr;
    const auto address = IpAddress::parse(word);
    return address ? network_node({*address, 128}) : nullptr;
  }

  PrefilterNode net(std::string_view word, std::string_view mask) {
    if (const auto dotted = dotted_of(word)) {
      if (next_is("mask")) return nullptr;  // the caller skips what is left of it
      const auto bits = mask.empty() ? std::optional(8 * dotted->parts) : number_of(mask, 32);
      if (!bits) return nullptr;
      return network_of(IpAddress::v4(dotted->bytes.data()), 96 + *bits);
    }
    if (word.find(':') == std::string_view::npos) return nullptr;
    const auto address = IpAddress::parse(word);
    const auto bits = mask.empty() ? std::optional(128u) : number_of(mask, 128);
    if (!address || !bits) return nullptr;
    // IPv6 packets may carry mapped addresses, which a Cidr and a Summary take for IPv4: a network
    // around them needs care that is not worth its code.
    if (*bits <= 96) {
      const Cidr around{IpAddress::v4(std::array<std::byte, 4>{}.data()),
                        static_cast<uint8_t>(*bits)};
      if (same_prefix(*address, around.network, *bits)) return nullptr;
    }
    return network_of(*address, *bits);
  }

  static bool same_prefix(const IpAddress& a, const IpAddress& b, unsigned bits) {
    for (unsigned i = 0; i < bits; ++i) {
      if (((a.bytes[i / 8] ^ b.bytes[i / 8]) & 0x80u >> i % 8) != 0) return false;
    }
    return true;
  }

  /// Host bits are cleared: libpcap refuses some of them and ignores others.
  static PrefilterNode network_of(IpAddress address, unsigned bits) {
    for (unsigned i = bits; i < 128; ++i)
      address.bytes[i / 8] &= static_cast<uint8_t>(~(0x80u >> i % 8));
    return network_node({address, static_cast<uint8_t>(bits)});
  }

  static PrefilterNode port(std::string_view word) {
    const auto number = number_of(word, UINT16_MAX);
    if (!number) return nullptr;  // a service's name
    return port_node(static_cast<uint16_t>(*number), static_cast<uint16_t>(*number));
  }

  static PrefilterNode port_range(std::string_view word) {
    const size_t dash = word.find('-');
    const auto first = number_of(word.substr(0, dash), UINT16_MAX);
    const auto last =
        dash == std::string_view::npos ? first : number_of(word.substr(dash + 1), UINT16_MAX);
    if (!first || !last) return nullptr;
    return port_node(static_cast<uint16_t>(*first), static_cast<uint16_t>(*last));
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  bool failed_ = false;
};

}  // namespace

PrefilterNode parse_prefilter(std::string_view expression) {
  auto tokens = tokens_of(expression);
  if (!tokens) return nullptr;
  for (const Token& token : *tokens) {
    if (is_one_of(token.text, kTunnelWords)) return nullptr;
  }
  return Parser(std::move(*tokens)).parse();
}

}  // namespace lookback::packet
