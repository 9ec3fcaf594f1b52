# Compares a program's output with what is expected, line by line, word by word (runs of blanks count as one):
#   awk [-v tolerance=0.01] -f expected.awk EXPECTED ACTUAL
# Words are equal as text, or, with a tolerance, when the text around their numbers is equal and each number is within
# tolerance * max(1, |expected|). The expected word `*` stands for any word: a time, a rate. A program asks for a
# tolerance with a line `// tolerance: 0.01`.
function same(want, got, at) {
  if (want == got || want == "*") return 1
  if (tolerance == "") return 0
  while (1) {
    at = match(want, number) ? RSTART : 0
    a = substr(want, RSTART, RLENGTH)
    want_head = at ? substr(want, 1, RSTART - 1) : want
    want = at ? substr(want, RSTART + RLENGTH) : ""
    at2 = match(got, number) ? RSTART : 0
    b = substr(got, RSTART, RLENGTH)
    got_head = at2 ? substr(got, 1, RSTART - 1) : got
    got = at2 ? substr(got, RSTART + RLENGTH) : ""
    if (want_head != got_head || (at > 0) != (at2 > 0)) return 0
    if (!at) return 1
    difference = a - b; if (difference < 0) difference = -difference
    scale = a < 0 ? -a : a + 0; if (scale < 1) scale = 1
    if (difference > tolerance * scale) return 0
  }
}
BEGIN { number = "-?[0-9]+(\\.[0-9]+)?(e[-+]?[0-9]+)?" }
FILENAME == ARGV[1] { expected[FNR] = $0; lines = FNR; next }
{
  actual = FNR
  count = split(expected[FNR], words, " ")
  equal = FNR <= lines && count == NF
  for (i = 1; equal && i <= NF; ++i) equal = same(words[i], $i)
  if (!equal) { printf "line %d\n  expected: %s\n  printed:  %s\n", FNR, FNR <= lines ? expected[FNR] : "(nothing)", $0; bad = 1 }
}
END {
  if (actual < lines) { printf "expected %d lines, printed %d; the next one: %s\n", lines, actual, expected[actual + 1]; bad = 1 }
  exit bad
}
