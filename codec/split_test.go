// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/codec/internal/conformance"
)

func TestSplitFuncConformance(t *testing.T) {
	for _, v := range conformance.All(t, ".") {
		if v.Refused() != "" {
			continue
		}
		dec, wire := v.Decoder(t), v.Wire()
		for _, source := range sources {
			t.Run(v.ID+" "+source.name, func(t *testing.T) {
				require.Equal(t, receive(t, dec, [][]byte{wire}, true), scanAll(source.open(wire), dec, 1<<20))
			})
		}
	}
}

// A Scanner of which the buffer is as large as the longest frame can deliver it.
func TestSplitFuncOfTheLongestFrame(t *testing.T) {
	for _, limit := range []int{5, 100, 4 << 10, 100_000} {
		frames := codec.LengthPrefix(4, limit)
		wire := encode(t, frames, [][]byte{make([]byte, limit-4), {}, make([]byte, limit-4)})
		for _, source := range sources {
			want := receive(t, frames, [][]byte{wire}, true)
			require.Equal(t, want, scanAll(source.open(wire), frames, frames.Max()), "%d, %s", limit, source.name)
		}
		if limit > 4<<10 {
			got := scanAll(bytes.NewReader(wire), frames, limit-1)
			require.Equal(t, outcome{err: bufio.ErrTooLong}, got)
		}
	}
}

// A Scanner panics after 100 empty tokens that consume nothing. Frames without content consume their header, however
// many there are, and the last one is a token like the others.
func TestSplitFuncOfEmptyFrames(t *testing.T) {
	frames := codec.LengthPrefix(1, 0)
	want := outcome{}
	for range 1_000 {
		want.frames = append(want.frames, []byte{})
	}
	for _, source := range sources {
		require.Equal(t, want, scanAll(source.open(make([]byte, 1_000)), frames, 1<<10), source.name)
	}
}

// The source's error wins over a frame that it cut short.
func TestSplitFuncAndTheSourcesError(t *testing.T) {
	broken := errors.New("broken")
	got := scanAll(io.MultiReader(bytes.NewReader([]byte("\x01a\x05b")), iotest.ErrReader(broken)), codec.LengthPrefix(1, 0), 1<<10)
	require.Equal(t, outcome{frames: [][]byte{[]byte("a")}, err: broken}, got)
}

func scanAll(src io.Reader, dec codec.Decoder, limit int) (got outcome) {
	scanner := bufio.NewScanner(src)
	scanner.Buffer(nil, limit)
	scanner.Split(codec.SplitFunc(dec))
	for scanner.Scan() {
		got.add(scanner.Bytes(), nil)
	}
	got.err = scanner.Err()
	return got
}
