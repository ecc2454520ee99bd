// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/codec"
)

// The searches in which a delimiter codec could take time beyond the number of bytes.
var searches = []struct {
	name    string
	delims  string // with blanks between
	frame   string // repeated
	dripped bool   // one frame, a byte at a time
}{
	{"a long frame/one byte", "\n", "a", true},
	{"a long frame/two bytes", "\r\n", "a", true},
	{"a long frame/any of two", "; ,", "a", true},
	{"a long frame/of first bytes", "aaaaaaaaaaaaaaab", "a", true},
	{"a long frame/of last bytes", "baaaaaaaaaaaaaaa", "a", true},
	{"short frames/without the first delimiter", "; ,", "1234567,", false},
	{"short frames/without the long delimiter", "\r\n \n", "1234567\n", false},
	{"no frame/of last bytes", "baaaaaaaaaaaaaaa", "a", false},
	{"no frame/of two halves", "aaaaaaabaaaaaaaa caaaaaaa", "aaaaaaab", false},
}

// TestSearchIsLinear gives twice the bytes at most 2.2 times the time. Where others use the machine too, that takes
// several attempts, for they use the caches too; what is not linear takes 4 times as long in any of them.
func TestSearchIsLinear(t *testing.T) {
	const most = 32 << 10 // bytes: a run takes a millisecond
	for _, test := range searches {
		t.Run(test.name, func(t *testing.T) {
			c := codec.Delimiter(codec.DelimiterOptions{Delimiters: strings.Split(test.delims, " "), Max: 4 << 20})
			wire := []byte(strings.Repeat(test.frame, most/len(test.frame)))
			once, twice := time.Hour, time.Hour
			for start := time.Now(); time.Since(start) < 10*time.Second; {
				once = min(once, timed(func() { decode(t, c, wire[:len(wire)/2], test.dripped) }))
				twice = min(twice, timed(func() { decode(t, c, wire, test.dripped) }))
				if float64(twice) <= 2.2*float64(once) {
					return
				}
			}
			require.Fail(t, "not linear", "%d bytes in %v, %d in %v", most/2, once, most, twice)
		})
	}
}

func decode(t testing.TB, dec codec.Decoder, wire []byte, dripped bool) {
	seen := 0
	for have := 0; have < len(wire); {
		have++
		if !dripped {
			have = len(wire)
		}
		for {
			_, n, _, err := dec.Decode(wire[:have], seen)
			if err != nil {
				require.NoError(t, err)
			}
			if n == 0 {
				seen = have
				break
			}
			wire, have, seen = wire[n:], have-n, 0
		}
	}
}

// TestSeenIsSettled changes what a call must not look at again: all that is further back than a delimiter reaches.
func TestSeenIsSettled(t *testing.T) {
	for _, delims := range []string{";", "--;", "\r\n \n", "; ,", "0123456789abcdef ;"} {
		o := codec.DelimiterOptions{Delimiters: strings.Split(delims, " "), Max: 64}
		again := 0 // bytes that a call may look at again
		for _, delim := range o.Delimiters {
			again = max(again, len(delim)-1)
		}
		delim := o.Delimiters[0]
		for seen := range 40 {
			src := []byte(strings.Repeat("x", max(seen-len(delim)/2, 0)) + delim)
			want := len(src)
			seen = min(seen, len(src)-1)
			settled := src[:max(seen-again, 0)]
			copy(settled, bytes.Repeat([]byte(delim), len(settled)))

			_, n, _, err := codec.Delimiter(o).Decode(src, seen)
			require.NoError(t, err)
			require.Equal(t, want, n, "%q with %d bytes seen", src, seen)
		}
	}
}

// TestSearchStopsAtMax searches much that a frame cannot reach, 100 times, in less time than it takes to look through it
// 10 times.
func TestSearchStopsAtMax(t *testing.T) {
	src := bytes.Repeat([]byte("x"), 16<<20)
	for _, spec := range []string{"line:max=9", "delim:hex=0a,max=9", "delim:hex=0d0a+0a,max=9", "delim:hex=0a+3b,max=9"} {
		c, err := codec.Parse(spec)
		require.NoError(t, err)
		once, often := time.Hour, time.Hour
		for range 5 { // the best of them went undisturbed
			start := time.Now()
			require.Equal(t, -1, bytes.IndexByte(src, '\n'))
			once = min(once, time.Since(start))

			start = time.Now()
			for range 100 {
				_, _, _, err = c.Decode(src, 0)
			}
			often = min(often, time.Since(start))
		}
		require.Less(t, often, 10*once, spec)
		require.Equal(t, &codec.TooLongError{Length: 10, Max: 9, AtLeast: true}, err)
	}
}

// The searches at full size: MiB=2 must take at most 2.2 times as long as MiB=1.
func BenchmarkSearch(b *testing.B) {
	for _, test := range searches {
		for _, mib := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/MiB=%d", test.name, mib), func(b *testing.B) {
				c := codec.Delimiter(codec.DelimiterOptions{Delimiters: strings.Split(test.delims, " "), Max: 4 << 20})
				wire := []byte(strings.Repeat(test.frame, mib<<20/len(test.frame)))
				b.SetBytes(int64(len(wire)))
				for b.Loop() {
					decode(b, c, wire, test.dripped)
				}
			})
		}
	}
}
