// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/codec"
)

// TestWaitingIsCheap drips a large frame in and counts: the work does not grow with the number of reads.
func TestWaitingIsCheap(t *testing.T) {
	payload := make([]byte, 10_000)
	for _, test := range []struct {
		c     codec.Codec
		calls int
	}{
		{codec.LengthPrefix(4, 0), 3},     // header? the rest? a frame
		{codec.Fixed(len(payload)), 2},    // all of it? a frame
		{codec.Varint(0), 2 + 1},          // each byte of the header, a frame
		{codec.Netstring(0), 6 + 1},       // each byte of "10000:", a frame
		{codec.Line(0), len(payload) + 1}, // each byte; what that costs is in linear_test.go
	} {
		wire, err := test.c.AppendFrame(nil, payload)
		require.NoError(t, err)
		s := &stream{t: t, dec: test.c}
		for _, read := range single(wire) {
			s.feed(read)
		}
		require.NoError(t, s.err)
		require.Len(t, s.frames, 1)
		require.Equal(t, test.calls, s.calls)
	}
}

func TestNothingIsAllocated(t *testing.T) {
	payload := make([]byte, 64)
	for name, c := range map[string]codec.Codec{
		"raw":          codec.Raw(),
		"fixed":        codec.Fixed(64),
		"length":       codec.LengthPrefix(4, 0),
		"odd length":   codec.LengthField(codec.LengthFieldOptions{Offset: 2, Size: 3, Strip: 5, LittleEndian: true}),
		"whole frames": codec.LengthField(codec.LengthFieldOptions{}),
		"varint":       codec.Varint(0),
		"netstring":    codec.Netstring(0),
		"line":         codec.Line(0),
		"one byte":     codec.Delimiter(codec.DelimiterOptions{Delimiters: []string{";"}}),
		"any byte":     codec.Delimiter(codec.DelimiterOptions{Delimiters: []string{";", ","}}),
		"long":         codec.Delimiter(codec.DelimiterOptions{Delimiters: []string{"--boundary--", "--end--"}}),
	} {
		t.Run(name, func(t *testing.T) {
			wire, err := c.AppendFrame(nil, payload)
			require.NoError(t, err)
			batch, payloads := bytes.Repeat(wire, 8), make([][]byte, 8)
			require.Zero(t, testing.AllocsPerRun(100, func() {
				_, n, _, err := c.Decode(wire, 0)
				if n != len(wire) || err != nil {
					panic("not a frame")
				}
				_, _, _, _ = c.Decode(wire[:1], 0)
				if _, n, _, err := codec.DecodeBatch(c, payloads, batch, 0); n != len(batch) || err != nil {
					panic("not the batch")
				}
				if wire, err = c.AppendFrame(wire[:0], payload); err != nil {
					panic(err)
				}
			}))
		})
	}
}
