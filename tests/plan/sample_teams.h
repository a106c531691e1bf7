// Teams of several hosts, equal and unequal, in order and shuffled.
#pragma once

#include <algorithm>
#include <numeric>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "team.h"

namespace tutti {

// `ranks`: of each host.  Shuffled: ranks are dealt to hosts at random, and the order is any order.
inline Team team_of(const std::vector<int>& ranks, bool shuffled = false) {
  Team team(std::accumulate(ranks.begin(), ranks.end(), 0));
  for (size_t host = 0; host < ranks.size(); ++host)
    team.host.insert(team.host.end(), static_cast<size_t>(ranks[host]), static_cast<int>(host));
  team.order.resize(static_cast<size_t>(team.size));
  std::iota(team.order.begin(), team.order.end(), 0);
  if (!shuffled) return team;
  std::minstd_rand random(static_cast<uint32_t>(7 * team.size + static_cast<int>(ranks.size())));
  std::ranges::shuffle(team.host, random);
  std::ranges::shuffle(team.order, random);
  std::vector<int> number(ranks.size(), -1);  // hosts are numbered as their first ranks come
  int numbers = 0;
  for (int& host : team.host) {
    int& known = number[static_cast<size_t>(host)];
    if (known < 0) known = numbers++;
    host = known;
  }
  return team;
}

inline std::vector<std::vector<int>> host_mixes() {
  return {{1, 1},    {2, 2},          {3, 1},   {1, 3},          {2, 1, 1},       {3, 1, 4}, {1, 1, 1},
          {2, 2, 2}, {5, 2},          {1, 8},   {8, 1, 1},       {4, 4, 4, 4},    {3, 3, 3}, {2, 3, 5, 7},
          {6, 4},    {1, 2, 3, 4, 5}, {16, 16}, {7, 7, 7, 7, 7}, {1, 1, 1, 1, 1}, {13, 2},   {9, 9, 9, 9, 9, 9, 9}};
}

// "hosts_3_1_4"
inline std::string label(const std::vector<int>& ranks) {
  std::string text = "hosts";
  for (const int n : ranks) text += "_" + std::to_string(n);
  return text;
}

}  // namespace tutti
