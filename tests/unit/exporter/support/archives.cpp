#include "unit/exporter/support/archives.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <ostream>

#include "lookback/base/hash.hpp"
#include "lookback/packet/decode.hpp"
#include "lookback/packet/filter.hpp"
#include "lookback/packet/summary.hpp"

namespace lookback::exporter::testing {

namespace {

packet::PacketView as_view(const Recorded& recorded) {
  packet::PacketView view;
  view.time_ns = recorded.time_ns;
  view.data = testing::view(recorded.data);
  view.original_length = recorded.original_length != 0
                             ? recorded.original_length
                             : static_cast<uint32_t>(recorded.data.size());
  view.interface = recorded.interface;
  view.direction = recorded.direction;
  return view;
}

archive::MemberContent make_member(const NodeSpec& node, size_t first, size_t last) {
  archive::MemberContent member;
  archive::FrameEncoder encoder;
  packet::Buffer content, whole;
  packet::append_section_header(content, "test");
  for (const archive::InterfaceEntry& interface : node.interfaces()) {
    packet::append_interface(
        content, {interface.name, "node " + node.entry.name, interface.link_type, 0, "", ""});
  }
  packet::SummaryBuilder summary;
  archive::FrameEntry frame;
  const auto end_frame = [&] {
    frame.content_bytes = content.size();
    frame.first_ns += node.bounds_shift_ns;
    frame.last_ns += node.bounds_shift_ns;
    frame.compressed_bytes = encoder.encode(content, member.compressed);
    const packet::Summary taken = summary.take();
    if (node.with_summaries) frame.summary = taken.to_text();
    member.size += content.size();
    member.packets += frame.packets;
    member.frames.push_back(std::exchange(frame, {}));
    whole.insert(whole.end(), content.begin(), content.end());
    content.clear();
  };
  for (size_t i = first; i < last; ++i) {
    const packet::PacketView view = as_view(node.packets[i]);
    frame.first_ns = frame.packets == 0 ? view.time_ns : std::min(frame.first_ns, view.time_ns);
    frame.last_ns = frame.packets == 0 ? view.time_ns : std::max(frame.last_ns, view.time_ns);
    ++frame.packets;
    packet::append_packet(content, view);
    summary.add(packet::decode(node.interfaces()[view.interface].link_type, view.data));
    if (frame.packets == node.packets_per_frame) end_frame();
  }
  if (frame.packets != 0 || member.frames.empty()) end_frame();
  member.sha256 = sha256_hex(whole);
  return member;
}

bool chosen(const std::vector<std::string>& patterns, const std::string& name) {
  return patterns.empty() ||
         std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
           return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
         });
}

bool on_networks(const std::vector<packet::Cidr>& networks, uint16_t link_type, const Bytes& data) {
  if (networks.empty()) return true;
  const packet::Headers headers = packet::decode(link_type, view(data));
  for (const packet::Cidr& network : networks) {
    for (int layer = 0; layer < headers.ip_count; ++layer) {
      if (network.contains(headers.ip[layer].source) ||
          network.contains(headers.ip[layer].destination))
        return true;
    }
    if (headers.arp &&
        (network.contains(headers.arp_sender) || network.contains(headers.arp_target)))
      return true;
    for (int i = 0; i < headers.mentioned_count; ++i) {
      if (network.contains(headers.mentioned[i].source) || network.contains(headers.mentioned[i].destination))
        return true;
    }
  }
  return headers.unread != packet::Unread::nothing;
}

packet::CaptureReader open_capture(const std::string& file) {
  auto reader = packet::CaptureReader::open(
      [&file, at = size_t{0}](std::span<std::byte> into) mutable -> Result<size_t> {
        const size_t bytes = std::min(into.size(), file.size() - at);
        std::memcpy(into.data(), file.data() + at, bytes);
        at += bytes;
        return bytes;
      });
  REQUIRE(reader);
  return std::move(*reader);
}

}  // namespace

NodeSpec node_spec(std::string name, std::vector<std::string> interfaces, uint16_t link_type) {
  NodeSpec node;
  node.entry.name = std::move(name);
  node.entry.version = "test";
  node.entry.status = "complete";
  for (std::string& interface : interfaces)
    node.entry.interfaces.push_back({std::move(interface), link_type, ""});
  return node;
}

/// Frames of five lines each, with the bounds of their times.
archive::MemberContent make_events(const std::vector<std::string>& lines) {
  constexpr size_t kLinesAFrame = 5;
  archive::FrameEncoder encoder;
  archive::MemberContent member;
  Sha256 hash;
  for (size_t first = 0; first < lines.size(); first += kLinesAFrame) {
    std::string text;
    archive::FrameEntry frame;
    for (size_t i = first; i < std::min(first + kLinesAFrame, lines.size()); ++i) {
      const std::string key = "\"time\":";
      const int64_t time = std::stoll(lines[i].substr(lines[i].find(key) + key.size()));
      if (text.empty()) frame.first_ns = frame.last_ns = time;
      frame.last_ns = std::max(frame.last_ns, time);
      text += lines[i] + "\n";
    }
    const auto content = std::as_bytes(std::span(text));
    hash.update(content);
    frame.content_bytes = content.size();
    frame.compressed_bytes = encoder.encode(content, member.compressed);
    member.size += content.size();
    member.frames.push_back(frame);
  }
  member.sha256 = to_hex(hash.finish());
  return member;
}

std::shared_ptr<archive::ArchiveReader> make_archive(const TemporaryDirectory& folder,
                                                     const std::vector<NodeSpec>& nodes,
                                                     TimeWindow window, const std::string& name,
                                                     const std::vector<std::string>& ip_filter) {
  auto writer = archive::ArchiveWriter::create(folder.path() / (name + ".partial"), 0);
  REQUIRE(writer);
  archive::Manifest manifest;
  manifest.name = name;
  manifest.id = "0123456789abcdef";
  manifest.created_by = "test";
  manifest.window = window;
  manifest.ip_filter = ip_filter;
  for (const NodeSpec& node : nodes) {
    manifest.nodes.push_back(node.entry);
    manifest.complete =
        manifest.complete && node.entry.status == "complete" && node.entry.gaps.empty();
    const size_t step = node.packets_per_frame * node.frames_per_member;
    for (size_t first = 0, number = 0; first < node.packets.size(); first += step, ++number) {
      const auto member = make_member(node, first, std::min(first + step, node.packets.size()));
      REQUIRE(writer->append(fmt::format("nodes/{}/packets/{:08}.pcapng", node.entry.name, number),
                             node.entry.name, member));
    }
    for (size_t number = 0; number < node.events.size(); ++number) {
      REQUIRE(writer->append(fmt::format("nodes/{}/os-events/{:08}.ndjson", node.entry.name, number),
                             node.entry.name, make_events(node.events[number])));
    }
  }
  const auto path = folder.path() / (name + ".tar.zst");
  const auto committed = writer->commit(std::move(manifest), path);
  if (!committed) FAIL(committed.error().message);
  auto reader = archive::ArchiveReader::open(path);
  if (!reader) FAIL(reader.error().message);
  return *reader;
}

std::ostream& operator<<(std::ostream& out, const Exported& packet) {
  return out << packet.node << '/' << packet.interface << " @" << packet.time_ns << ' '
             << packet.data.size() << " of " << packet.original_length
             << " bytes: " << to_hex(view(packet.data));
}

Export run_export(const std::shared_ptr<archive::ArchiveReader>& archive,
                  const ExportOptions& options) {
  Export done;
  auto stats = export_capture(archive, options, [&](std::span<const std::byte> bytes) -> Result<> {
    done.file.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  });
  if (!stats) FAIL(stats.error().message);
  done.stats = std::move(*stats);
  REQUIRE(done.stats.bytes_written == done.file.size());
  return done;
}

std::vector<Exported> read_export(const std::string& file) {
  auto reader = open_capture(file);
  std::vector<Exported> packets;
  for (;;) {
    const auto packet = reader.next();
    if (!packet) FAIL(packet.error().message);
    if (!*packet) return packets;
    const packet::PacketView& view = (*packet)->view;
    Exported& exported = packets.emplace_back();
    if (reader.is_pcapng()) {
      const packet::PcapngInterface& interface = reader.interfaces()[view.interface];
      REQUIRE(interface.description.starts_with("node "));
      exported.node = interface.description.substr(5);
      exported.interface = interface.name;
    }
    exported.time_ns = view.time_ns;
    exported.data.assign(reinterpret_cast<const char*>(view.data.data()), view.data.size());
    exported.original_length = view.original_length;
    exported.direction = view.direction;
  }
}

std::vector<std::pair<int64_t, std::string>> read_comments(const std::string& file) {
  auto reader = open_capture(file);
  std::vector<std::pair<int64_t, std::string>> comments;
  for (;;) {
    const auto packet = reader.next();
    if (!packet) FAIL(packet.error().message);
    if (!*packet) return comments;
    if (!(*packet)->first_comment.empty())
      comments.emplace_back((*packet)->view.time_ns, (*packet)->first_comment);
  }
}

std::vector<Exported> expected_export(const std::vector<NodeSpec>& nodes, TimeWindow window,
                                      const ExportOptions& options) {
  struct Entry {
    int64_t time;
    size_t node, interface;
    Exported packet;
  };
  std::vector<Entry> entries;
  window.from_ns = std::max(window.from_ns, options.from_ns.value_or(window.from_ns));
  window.to_ns = std::min(window.to_ns, options.to_ns.value_or(window.to_ns));
  size_t exported_nodes = 0;
  for (const NodeSpec& node : nodes) exported_nodes += chosen(options.nodes, node.entry.name);
  for (size_t n = 0; n < nodes.size(); ++n) {
    const NodeSpec& node = nodes[n];
    if (!chosen(options.nodes, node.entry.name)) continue;
    for (const Recorded& recorded : node.packets) {
      const archive::InterfaceEntry& interface = node.interfaces()[recorded.interface];
      const int64_t offset = archive::clock_offset_at(node.entry.clock, recorded.time_ns);
      if (!window.contains(recorded.time_ns - offset) ||
          !chosen(options.interfaces, interface.name))
        continue;
      const packet::PacketView view = as_view(recorded);
      if (!options.filter.empty()) {
        const auto filter = packet::Filter::compile(options.filter, interface.link_type);
        if (!filter || !filter->matches(view.data, view.original_length)) continue;
      }
      if (!on_networks(options.networks, interface.link_type, recorded.data)) continue;
      const int64_t time = options.align_clocks ? recorded.time_ns - offset : recorded.time_ns;
      Exported packet{node.entry.name,
                      exported_nodes > 1 ? node.entry.name + "/" + interface.name : interface.name,
                      time,
                      recorded.data,
                      view.original_length,
                      recorded.direction};
      if (options.format == Format::pcap) packet.node = packet.interface = "";
      if (options.format == Format::pcap) packet.direction = packet::Direction::unknown;
      entries.push_back({time, n, recorded.interface, std::move(packet)});
    }
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.time, a.node, a.interface) < std::tie(b.time, b.node, b.interface);
  });
  std::vector<Exported> expected;
  for (Entry& entry : entries) expected.push_back(std::move(entry.packet));
  return expected;
}

}  // namespace lookback::exporter::testing
