// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package conformance reads testdata/vectors.tsv of package codec, for the tests of everything that cuts streams with
// codecs.
package conformance

import (
	"encoding/hex"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/codec"
)

// ours replaces what is expected where the families break one of our policies, which are:
// an error is final, so only what comes before the first one is compared; a stream that ends inside a frame is an
// error; whatever exceeds the limit is too long; a length field may have any size from 1 to 8; frames do not depend on
// how the bytes were cut into reads; a varint beyond 2^31-1 is malformed.
var ours = map[string]string{
	"NL18": "E:TooLong",            // a length beyond 2^63 less its header: no overflow here
	"NL22": "F(0000000001aa)",      // five bytes of length
	"NL27": "E:Truncated",          // dropped silently there
	"NF2":  "F('abc')|E:Truncated", // the same

	// What follows the last line is no line, neither dropped nor delivered.
	"NN1":  "F('first'),F('second')|E:Truncated",
	"NN13": "F('a'0d'b'0d),F()|E:Truncated",
	"ND5":  "F('first'),F('second')|E:Truncated",
	"TN1":  "F('line 1'),F('line 2'),F('line 3'),F()|E:Truncated",
	"TN13": "E:Truncated",

	// A read that ends inside what may still become a delimiter, with the limit reached.
	"NN12": "F('abcde'),F('xy')",
	"ND17": "F('abcd'),F('ef'),F('gh')",
	"ND18": "F('abcd'),F('ef'),F('gh')",

	"NP6":  "F()",         // five bytes of which four arrived first
	"NP10": "E:Corrupted", // bits above the 32nd are not dropped
}

// refused are the vectors whose delimiters get in each other's way: the same bytes give other frames in other reads.
var refused = map[string]string{
	"ND14": `codec: delimiter "\r" occurs in "\r\n" before its end`,
	"ND15": `codec: delimiter "\r" occurs in "\r\n" before its end`,
}

// A Vector is a row of vectors.tsv, described in the README.md beside it.
type Vector struct {
	ID    string
	Codec string   // the kind of decoder
	Reads [][]byte // what arrived, read by read
	EOF   bool     // and then the peer ended

	oracle, expected string
	opts             map[string]string
}

// All returns the rows. dir is the way from the test to the folder of package codec.
func All(t testing.TB, dir string) (list []Vector) {
	file, err := os.ReadFile(filepath.Join(dir, "testdata", "vectors.tsv"))
	require.NoError(t, err)
	for row := range strings.Lines(string(file)) {
		column := strings.Split(strings.TrimSuffix(row, "\n"), "\t")
		require.Len(t, column, 7)
		if column[0] == "id" {
			continue
		}
		v := Vector{ID: column[0], oracle: column[1], Codec: column[2], opts: map[string]string{}, expected: column[5]}
		for opt := range strings.SplitSeq(column[3], ",") {
			key, value, _ := strings.Cut(opt, "=")
			v.opts[key] = value
		}
		for _, read := range strings.Fields(column[4]) {
			switch read {
			case "EOF":
				v.EOF = true
			case "NIL":
			default:
				v.Reads = append(v.Reads, unhex(t, read))
			}
		}
		list = append(list, v)
	}
	return list
}

// Unlimited is the maximum of vectors that name none.
const Unlimited = math.MaxInt32

// Wire returns all that arrived.
func (v Vector) Wire() []byte { return slices.Concat(v.Reads...) }

// Refused returns the message with which our codec refuses to be made, or "".
func (v Vector) Refused() string { return refused[v.ID] }

// Expected returns the frames before the first error, and what kind that is: "" if there is none.
func (v Vector) Expected(t testing.TB) (frames [][]byte, kind string) {
	if expected, ok := ours[v.ID]; ok {
		return parseExpected(t, expected)
	}
	return parseExpected(t, v.expected)
}

// Decoder returns our codec for the vector. It must not be one that is refused.
func (v Vector) Decoder(t testing.TB) codec.Decoder {
	switch v.Codec {
	case "fixed":
		return codec.Fixed(v.Number(t, "n", 0))
	case "len":
		return codec.LengthField(v.LengthField(t))
	case "varint":
		return codec.Varint(Unlimited)
	case "lines":
		return codec.Line(v.Number(t, "max", Unlimited))
	case "line":
		if v.opts["strip"] == "1" {
			return codec.Line(v.Number(t, "max", Unlimited))
		}
	}
	return codec.Delimiter(v.Delimiter(t))
}

// Delimiter returns the options of a vector of delimiters.
func (v Vector) Delimiter(t testing.TB) codec.DelimiterOptions {
	o := codec.DelimiterOptions{Max: v.Number(t, "max", Unlimited), Keep: v.opts["strip"] == "0"}
	switch v.Codec {
	case "line":
		o.Delimiters = []string{"\r\n", "\n"}
	case "delim":
		for delim := range strings.SplitSeq(v.opts["delim"], "/") {
			o.Delimiters = append(o.Delimiters, string(unhex(t, delim)))
		}
	case "any": // each byte is one
		o.Delimiters = strings.Split(string(unhex(t, v.opts["delim"])), "")
	default:
		require.Fail(t, "no codec for this vector", v.Codec)
	}
	return o
}

// LengthField returns the options of a vector of length fields.
func (v Vector) LengthField(t testing.TB) codec.LengthFieldOptions {
	o := codec.LengthFieldOptions{
		Offset:       v.Number(t, "off", 0),
		Size:         v.Number(t, "len", 4),
		Adjust:       v.Number(t, "adj", 0),
		Strip:        v.Number(t, "strip", 0),
		LittleEndian: v.Number(t, "le", 0) == 1,
		Max:          v.Number(t, "max", Unlimited),
	}
	if v.oracle == "tokio-util" { // it skips the header unless told otherwise, and neither counts nor limits it
		header := o.Offset + o.Size
		o.Strip = v.Number(t, "skip", header)
		o.Adjust += o.Strip - header
		if o.Max != Unlimited {
			o.Max += header + o.Adjust
		}
	}
	return o
}

// Number returns the value of an option, or otherwise if the vector does not have it.
func (v Vector) Number(t testing.TB, opt string, otherwise int) int {
	value, ok := v.opts[opt]
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(value)
	require.NoError(t, err, v.ID)
	return n
}

var (
	resultSyntax = regexp.MustCompile(`F\(((?:[0-9a-f]{2}|'[^']*')*)\)|E:(\w+)`)
	partSyntax   = regexp.MustCompile(`[0-9a-f]{2}|'[^']*'`)
)

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
			frame = append(frame, unhex(t, part)...)
		}
		frames = append(frames, frame)
	}
	return frames, ""
}

// kindNamed translates the families' names of errors.
func kindNamed(t testing.TB, name string) string {
	switch name {
	case "TooLong", "big", "max":
		return "too long"
	case "Corrupted", "adj":
		return "malformed"
	case "Truncated", "rest":
		return "truncated"
	}
	require.Fail(t, "unknown kind of error", name)
	return ""
}

// KindOf returns what kind of error err is.
func KindOf(err error) string {
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

func unhex(t testing.TB, s string) []byte {
	data, err := hex.DecodeString(s)
	require.NoError(t, err)
	return data
}
