#!/bin/sh
# The shared library exports exactly the functions that the header declares, and its soname carries a version.
# usage: symbols_test.sh LIBRARY HEADER
set -eu
library=$1 header=$2

declared=$(grep -o 'tutti_[a-z0-9_]*(' "$header" | tr -d '(' | sort -u)
exported=$(nm -D --defined-only "$library" | awk '$2 != "A" { print $3 }' | sed 's/@.*//' | sort -u)

if [ "$declared" != "$exported" ]; then
  echo "the header's functions and the library's exports differ:"
  { printf '%s\n' "$declared" | sed 's/$/ declared/'; printf '%s\n' "$exported" | sed 's/$/ exported/'; } | sort |
    awk '{ seen[$1] = seen[$1] " " $2 }
      END { for (name in seen) if (seen[name] != " declared exported") print name ":" seen[name] }'
  exit 1
fi
readelf -d "$library" | grep 'SONAME.*\[libtutti\.so\.[0-9]'
echo "$(printf '%s\n' "$exported" | wc -l) functions"
