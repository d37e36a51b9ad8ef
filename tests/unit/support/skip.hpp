#pragma once

#include <string_view>

namespace lookback::test {

/// Says that the running test case ends early because this machine lacks what it needs: rights, a tool, a feature of the kernel.
/// The case is printed and, where LOOKBACK_TEST_SKIPS names a file, added to it as a line: scripts/test counts these lines, because Catch2 2
/// counts such a case as passed. The caller returns from the test case next. For the thread that runs the test.
void note_skip(std::string_view why);

}  // namespace lookback::test
