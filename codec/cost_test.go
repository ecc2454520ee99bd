// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/codec"
)

// TestWaitingIsCheap drips a large frame in and counts: the work does not grow with the number of reads.
func TestWaitingIsCheap(t *testing.T) {
	wire := binary.BigEndian.AppendUint32(nil, 10_000)
	wire = append(wire, make([]byte, 10_000)...)
	for _, test := range []struct {
		dec   codec.Decoder
		calls int
	}{
		{codec.LengthPrefix(4, 0), 3}, // header? the rest? a frame
		{codec.Fixed(len(wire)), 2},   // all of it? a frame
	} {
		s := &stream{t: t, dec: test.dec}
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
	} {
		t.Run(name, func(t *testing.T) {
			wire, err := c.AppendFrame(nil, payload)
			require.NoError(t, err)
			require.Zero(t, testing.AllocsPerRun(100, func() {
				_, n, _, err := c.Decode(wire, 0)
				if n != len(wire) || err != nil {
					panic("not a frame")
				}
				_, _, _, _ = c.Decode(wire[:1], 0)
				if wire, err = c.AppendFrame(wire[:0], payload); err != nil {
					panic(err)
				}
			}))
		})
	}
}
