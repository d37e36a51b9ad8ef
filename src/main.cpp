#include "lookback/cli/cli.hpp"

int main(int argc, char** argv) { return lookback::cli::run(argc, argv); }
