#include "hub/jobs.hpp"

#include <catch2/catch.hpp>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <set>
#include <vector>

#include "lookback/base/file.hpp"
#include "lookback/base/json.hpp"
#include "support/hub_fixture.hpp"

using namespace lookback;
using namespace lookback::hub;
using hub::test::eventually;
using hub::test::TemporaryDirectory;

namespace {

/// Work that waits until the test lets it go on.
struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::string> open;
  int running = 0, most_running = 0;
  std::vector<std::string> begun;

  JobKind kind(const std::string& name, unsigned at_a_time, bool is_kept = false) {
    return {.name = name, .at_a_time = at_a_time, .most_waiting = 3, .is_kept = is_kept, .run = [this](const Job& job, const JobControl& control) {
              return work(job, control);
            }};
  }
  Result<std::string> work(const Job& job, const JobControl& control) {
    std::unique_lock lock(mutex);
    begun.push_back(job.subject);
    most_running = std::max(most_running, ++running);
    control.progress(1, 4);
    const bool listens = job.subject != "stubborn";
    while (!open.contains(job.subject) && !(listens && control.cancelled())) changed.wait_for(lock, std::chrono::milliseconds(5));
    --running;
    if (job.subject == "throws") throw std::runtime_error("thrown on purpose");
    if (control.cancelled()) return fail(ErrorKind::cancelled, "cancelled");
    if (job.subject == "fails") return fail(ErrorKind::corrupt, "made to fail");
    return "{\"parameters\":" + job.parameters + "}";
  }
  void let(const std::string& subject) {
    const std::lock_guard lock(mutex);
    open.insert(subject);
    changed.notify_all();
  }
  std::vector<std::string> who_began() {
    const std::lock_guard lock(mutex);
    return begun;
  }
};

struct Fixture {
  TemporaryDirectory directory;
  Gate gate;
  EventFeed events;
  std::unique_ptr<Jobs> jobs;

  explicit Fixture(unsigned at_a_time = 1) { begin(at_a_time); }
  void begin(unsigned at_a_time = 1) {
    jobs = std::make_unique<Jobs>(directory / "work", std::vector<JobKind>{gate.kind("kept", at_a_time, true), gate.kind("short", 1)},
                                  Clock::system(), events);
    REQUIRE(jobs->open());
  }
  Job start(const std::string& kind, const std::string& subject, const std::string& parameters = "{}") {
    const auto job = jobs->start(kind, subject, parameters);
    REQUIRE(job);
    return *job;
  }
  bool comes_to(const Job& job, JobState state) {
    return eventually([&] { return jobs->find(job.id)->state == state; });
  }
  size_t records() const {
    size_t count = 0;
    for (const auto& file : std::filesystem::directory_iterator(directory / "work")) count += file.is_regular_file();
    return count;
  }
};

}  // namespace

TEST_CASE("a job runs, tells its progress, and ends with its result or its error") {
  Fixture f;
  const Job good = f.start("kept", "good", R"({"x":1})"), bad = f.start("kept", "fails"), odd = f.start("kept", "throws");
  CHECK(good.state == JobState::pending);
  REQUIRE(f.comes_to(good, JobState::running));
  CHECK(eventually([&] { return f.jobs->find(good.id)->total == 4; }));
  CHECK(f.jobs->find(good.id)->done == 1);
  CHECK(f.jobs->find(bad.id)->state == JobState::pending);
  for (const char* subject : {"good", "fails", "throws"}) f.gate.let(subject);
  REQUIRE(f.comes_to(good, JobState::completed));
  REQUIRE(f.comes_to(bad, JobState::failed));
  REQUIRE(f.comes_to(odd, JobState::failed));
  const Job ended = *f.jobs->find(good.id);
  CHECK(ended.result == R"({"parameters":{"x":1}})");
  CHECK(ended.created_ns <= ended.started_ns);
  CHECK(ended.started_ns <= ended.ended_ns);
  CHECK_FALSE(ended.error);
  CHECK(f.jobs->find(bad.id)->error->kind == ErrorKind::corrupt);
  CHECK(f.jobs->find(bad.id)->error->message == "made to fail");
  CHECK(f.jobs->find(odd.id)->error->message.find("thrown on purpose") != std::string::npos);
  std::vector<std::string> ids;
  for (const Job& job : f.jobs->list()) ids.push_back(job.id);
  CHECK(std::set<std::string>(ids.begin(), ids.end()) == std::set<std::string>{good.id, bad.id, odd.id});
  CHECK(f.jobs->find("none").error().kind == ErrorKind::not_found);
  std::string told;
  for (const auto& event : f.events.after(0).events) told += event.type + " " + event.data + "\n";
  for (const char* part : {"job {", "job-progress {", "\"state\":\"pending\"", "\"state\":\"running\"", "\"state\":\"completed\"", "\"state\":\"failed\""})
    CHECK(told.find(part) != std::string::npos);
}

TEST_CASE("each kind has a limit of its own, and so have those that wait") {
  Fixture f(2);
  std::vector<Job> jobs;
  for (const char* subject : {"a", "b", "c", "d", "e"}) jobs.push_back(f.start("kept", subject));
  const Job other = f.start("short", "other");
  REQUIRE(f.comes_to(other, JobState::running));
  REQUIRE(eventually([&] { return f.gate.who_began().size() == 3; }));
  const auto refused = f.jobs->start("kept", "f");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == ErrorKind::conflict);
  for (const char* subject : {"a", "b", "c", "d", "e", "other"}) f.gate.let(subject);
  for (const Job& job : jobs) CHECK(f.comes_to(job, JobState::completed));
  CHECK(f.gate.most_running == 3);
}

TEST_CASE("a job is cancelled, be it waiting or running") {
  Fixture f;
  const Job running = f.start("kept", "running"), waiting = f.start("kept", "waiting"), next = f.start("kept", "next");
  REQUIRE(f.comes_to(running, JobState::running));
  REQUIRE(f.jobs->cancel(waiting.id));
  CHECK(f.jobs->find(waiting.id)->state == JobState::cancelled);
  CHECK(f.jobs->cancel(waiting.id).error().kind == ErrorKind::conflict);
  CHECK(f.jobs->cancel("none").error().kind == ErrorKind::not_found);
  REQUIRE(f.jobs->cancel(running.id));
  CHECK(f.comes_to(running, JobState::cancelled));
  f.gate.let("next");
  CHECK(f.comes_to(next, JobState::completed));
  CHECK(f.gate.who_began() == std::vector<std::string>{"running", "next"});
}

TEST_CASE("what is kept survives a restart: what had not ended begins again") {
  Fixture f;
  const Job done = f.start("kept", "done");
  f.gate.let("done");
  REQUIRE(f.comes_to(done, JobState::completed));
  const Job running = f.start("kept", "running", R"({"y":2})"), waiting = f.start("kept", "waiting"), lost = f.start("short", "lost");
  REQUIRE(f.comes_to(running, JobState::running));
  REQUIRE(f.comes_to(lost, JobState::running));
  const Job before = *f.jobs->find(done.id);
  f.jobs->stop();
  f.begin();
  CHECK(f.jobs->find(lost.id).error().kind == ErrorKind::not_found);
  CHECK(job_to_json(*f.jobs->find(done.id)) == job_to_json(before));
  REQUIRE(f.comes_to(running, JobState::running));
  CHECK(f.jobs->find(running.id)->starts == 1);  // a stop in good order is not a failure
  for (const char* subject : {"running", "waiting"}) f.gate.let(subject);
  REQUIRE(f.comes_to(running, JobState::completed));
  REQUIRE(f.comes_to(waiting, JobState::completed));
  CHECK(f.jobs->find(running.id)->result == R"({"parameters":{"y":2}})");
}

TEST_CASE("a running job that is cancelled does not begin again where the hub is killed before it ends") {
  Fixture f;
  const Job job = f.start("kept", "stubborn");
  REQUIRE(f.comes_to(job, JobState::running));
  const auto record = f.directory / "work" / (job.id + ".json");
  REQUIRE(eventually([&] { return read_file(record)->find("\"running\"") != std::string::npos; }));
  REQUIRE(f.jobs->cancel(job.id));
  CHECK(f.jobs->find(job.id)->state == JobState::running);
  CHECK(read_file(record)->find("\"cancelled\"") != std::string::npos);
  f.gate.let("stubborn");
  CHECK(f.comes_to(job, JobState::cancelled));
}

TEST_CASE("of the jobs that ended the last are remembered, and no record of others stays") {
  Fixture f;
  f.gate.let("x");
  std::string last;
  for (int i = 0; i < 260; ++i) {
    const Job job = f.start("kept", "x");
    REQUIRE(f.comes_to(job, JobState::completed));
    last = job.id;
  }
  CHECK(f.jobs->list().size() == 256);
  f.jobs->stop();
  CHECK(f.records() == 256);
  // More than are remembered, as an older hub may have left.
  const std::string text = *read_file(f.directory / "work" / (last + ".json"));
  for (int i = 0; i < 10; ++i) {
    const std::string id = fmt::format("{:016}", i);
    std::string other = text;
    other.replace(other.find(last), last.size(), id);
    std::ofstream(f.directory / "work" / (id + ".json")) << other;
  }
  f.begin();
  CHECK(f.jobs->list().size() == 256);
  CHECK(f.records() == 256);
}

TEST_CASE("a job that ends the hub again and again is given up") {
  Fixture f;
  const Job job = f.start("kept", "deadly");
  REQUIRE(f.comes_to(job, JobState::running));
  const auto record = f.directory / "work" / (job.id + ".json");
  std::string text;  // as it is while the job runs
  REQUIRE(eventually([&] {
    text = *read_file(record);
    return text.find("\"starts\":1") != std::string::npos;
  }));
  f.jobs->stop();
  text.replace(text.find("\"starts\":1"), 10, "\"starts\":3");
  std::ofstream(record) << text;
  f.begin();
  CHECK(f.jobs->find(job.id)->state == JobState::failed);
  CHECK(f.jobs->find(job.id)->error->message.find("3 times") != std::string::npos);
}

TEST_CASE("records that are damaged, or of a kind that is not known, are left aside") {
  Fixture f;
  const Job job = f.start("kept", "x");
  f.gate.let("x");
  REQUIRE(f.comes_to(job, JobState::completed));
  f.jobs->stop();
  const auto folder = f.directory / "work";
  const std::string text = *read_file(folder / (job.id + ".json"));
  for (size_t cut = 0; cut + 2 < text.size(); cut += 5) {
    const auto part = parse_json(text.substr(0, cut), "record");
    CHECK_FALSE(part);
  }
  std::ofstream(folder / "0000000000000000.json") << text.substr(0, text.size() / 2);
  std::ofstream(folder / "1111111111111111.json") << text;  // another one's
  std::string unknown = text;
  unknown.replace(unknown.find("\"kept\""), 6, "\"new\"");
  unknown.replace(unknown.find(job.id), job.id.size(), "2222222222222222");
  std::ofstream(folder / "2222222222222222.json") << unknown;
  f.begin();
  CHECK(f.jobs->list().size() == 1);
  CHECK(f.records() == 4);
}

TEST_CASE("the object of a job goes through JSON unchanged") {
  Job job;
  job.id = "0123456789abcdef";
  job.kind = "verify";
  job.subject = "x";
  job.state = JobState::failed;
  job.created_ns = 1'700'000'000'000'000'000;
  job.started_ns = job.created_ns + 1;
  job.ended_ns = job.created_ns + 2;
  job.done = 5;
  job.total = 7;
  job.starts = 2;
  job.error = Error{ErrorKind::no_space, "full"};
  job.parameters = R"({"a":1})";
  const Json json = job_to_json(job);
  const auto read = job_from_json(json);
  REQUIRE(read);
  CHECK(job_to_json(*read) == json);
  CHECK(read->error->kind == ErrorKind::no_space);
  for (const char* key : {"id", "kind", "state"}) {
    Json without = json;
    without.erase(key);
    CHECK(job_from_json(without).error().kind == ErrorKind::corrupt);
    without[key] = 7;
    CHECK(job_from_json(without).error().kind == ErrorKind::corrupt);
  }
  Json newer = json;
  newer["state"] = "sleeping";
  CHECK(job_from_json(newer)->state == JobState::other);
}
