// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"encoding/hex"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/quartet-go/quartet/codec"
)

// ours replaces what is expected where the families break one of our policies, which are:
// an error is final, so only what comes before the first one is compared; a stream that ends inside a frame is an
// error; whatever exceeds the limit is too long; a length field may have any size from 1 to 8.
var ours = map[string]string{
	"NL18": "E:TooLong",            // a length beyond 2^63 less its header: no overflow here
	"NL22": "F(0000000001aa)",      // five bytes of length
	"NL27": "E:Truncated",          // dropped silently there
	"NF2":  "F('abc')|E:Truncated", // the same
}

func TestConformance(t *testing.T) {
	ran, waiting := map[string]int{}, map[string]int{}
	for _, v := range vectors(t) {
		dec := v.decoder(t)
		if dec == nil {
			waiting[v.codec]++
			continue
		}
		ran[v.codec]++
		t.Run(v.id, func(t *testing.T) {
			expected, ok := ours[v.id]
			if !ok {
				expected = v.expected
			}
			frames, kind := parseExpected(t, expected)

			got := receive(t, dec, v.reads, v.eof)
			require.Equal(t, frames, got.frames)
			require.Equal(t, kind, kindOf(got.err), "%v", got.err)

			wire := slices.Concat(v.reads...)
			rapid.Check(t, func(rt *rapid.T) {
				require.Equal(rt, got, requireSplitInvariant(rt, dec, wire, cut(rt, wire), v.eof))
			})
		})
	}
	require.Equal(t, map[string]int{"len": 36, "fixed": 1}, ran)
	require.Equal(t, map[string]int{"any": 6, "delim": 12, "line": 9, "lines": 9, "varint": 8}, waiting,
		"rows of codecs that do not exist yet")
}

// A vector is a row of testdata/vectors.tsv, described in the README.md there.
type vector struct {
	id, oracle, codec string
	opts              map[string]string
	reads             [][]byte
	eof               bool
	expected          string
}

func vectors(t testing.TB) (list []vector) {
	file, err := os.ReadFile("testdata/vectors.tsv")
	require.NoError(t, err)
	for row := range strings.Lines(string(file)) {
		column := strings.Split(strings.TrimSuffix(row, "\n"), "\t")
		require.Len(t, column, 7)
		if column[0] == "id" {
			continue
		}
		v := vector{id: column[0], oracle: column[1], codec: column[2], opts: map[string]string{}, expected: column[5]}
		for opt := range strings.SplitSeq(column[3], ",") {
			key, value, _ := strings.Cut(opt, "=")
			v.opts[key] = value
		}
		for _, read := range strings.Fields(column[4]) {
			switch read {
			case "EOF":
				v.eof = true
			case "NIL":
			default:
				data, err := hex.DecodeString(read)
				require.NoError(t, err, v.id)
				v.reads = append(v.reads, data)
			}
		}
		list = append(list, v)
	}
	return list
}

// decoder returns what the vector is about, or nil if there is no such codec here.
func (v vector) decoder(t testing.TB) codec.Decoder {
	switch v.codec {
	case "fixed":
		return codec.Fixed(v.number(t, "n", 0))
	case "len":
		return codec.LengthField(v.lengthField(t))
	}
	return nil
}

func (v vector) lengthField(t testing.TB) codec.LengthFieldOptions {
	const unlimited = math.MaxInt32
	o := codec.LengthFieldOptions{
		Offset:       v.number(t, "off", 0),
		Size:         v.number(t, "len", 4),
		Adjust:       v.number(t, "adj", 0),
		Strip:        v.number(t, "strip", 0),
		LittleEndian: v.number(t, "le", 0) == 1,
		Max:          v.number(t, "max", unlimited),
	}
	if v.oracle == "tokio-util" { // it skips the header unless told otherwise, and neither counts nor limits it
		header := o.Offset + o.Size
		o.Strip = v.number(t, "skip", header)
		o.Adjust += o.Strip - header
		if o.Max != unlimited {
			o.Max += header + o.Adjust
		}
	}
	return o
}

func (v vector) number(t testing.TB, opt string, otherwise int) int {
	value, ok := v.opts[opt]
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	require.NoError(t, err, v.id)
	return n
}

var (
	resultSyntax = regexp.MustCompile(`F\(((?:[0-9a-f]{2}|'[^']*')*)\)|E:(\w+)`)
	partSyntax   = regexp.MustCompile(`[0-9a-f]{2}|'[^']*'`)
)

// parseExpected returns the frames before the first error, and its kind: "" if there is none.
func parseExpected(t testing.TB, expected string) (frames [][]byte, kind string) {
	for _, result := range resultSyntax.FindAllStringSubmatch(expected, -1) {
		if result[2] != "" {
			return frames, kindNamed(t, result[2])
		}
		frame := []byte{}
		for _, part := range partSyntax.FindAllString(result[1], -1) {
			if text, ok := strings.CutPrefix(part, "'"); ok {
				frame = append(frame, strings.TrimSuffix(text, "'")...)
				continue
			}
			data, err := hex.DecodeString(part)
			require.NoError(t, err)
			frame = append(frame, data...)
		}
		frames = append(frames, frame)
	}
	return frames, ""
}

// kindNamed translates the families' names of errors.
func kindNamed(t testing.TB, name string) string {
	switch name {
	case "TooLong", "big":
		return "too long"
	case "Corrupted", "adj":
		return "malformed"
	case "Truncated", "rest":
		return "truncated"
	}
	require.Fail(t, "unknown kind of error", name)
	return ""
}

func kindOf(err error) string {
	switch err.(type) {
	case nil:
		return ""
	case *codec.TooLongError:
		return "too long"
	case *codec.MalformedError:
		return "malformed"
	case *codec.TruncatedError:
		return "truncated"
	}
	return err.Error()
}
