// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/quartet-go/quartet/codec"
)

func TestFixed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 20).Draw(t, "size")
		c := codec.Fixed(size)
		require.Equal(t, size, c.Max())

		var want outcome
		var wire []byte
		for _, frame := range rapid.SliceOf(bytesOf(size, size)).Draw(t, "frames") {
			var err error
			wire, err = c.AppendFrame(wire, frame)
			require.NoError(t, err)
			want.frames = append(want.frames, frame)
		}
		require.Equal(t, slices.Concat(want.frames...), wire)
		if rest := bytesOf(0, size-1).Draw(t, "rest"); len(rest) > 0 {
			wire = append(wire, rest...)
			want.err = &codec.TruncatedError{Have: len(rest), Need: size}
		}
		require.Equal(t, want, requireSplitInvariant(t, c, wire, cut(t, wire), true))
	})
}

func TestFixedEncodesOneLengthOnly(t *testing.T) {
	dst := []byte("before")
	for _, n := range []int{0, 1, 15, 17, 1000} {
		got, err := codec.Fixed(16).AppendFrame(dst, make([]byte, n))
		require.Equal(t, &codec.PayloadError{Length: n, Min: 16, Max: 16}, err)
		require.Equal(t, dst, got)
	}
}

func TestFixedRefuses(t *testing.T) {
	require.PanicsWithValue(t, "codec: fixed frames of 0 bytes, they must have at least 1", func() { codec.Fixed(0) })
	require.PanicsWithValue(t, "codec: fixed frames of -3 bytes, they must have at least 1", func() { codec.Fixed(-3) })
}
