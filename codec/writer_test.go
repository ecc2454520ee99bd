// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/quartet-go/quartet/codec"
)

const writerBatch = 64 << 10

func TestWriterBatches(t *testing.T) {
	var dst writes
	w := codec.NewWriter(&dst, codec.LengthPrefix(1, 0))
	require.NoError(t, w.Flush())
	require.Empty(t, dst, "nothing to flush")

	for _, payload := range []string{"a", "", "bcd"} {
		require.NoError(t, w.WriteFrame([]byte(payload)))
	}
	require.Empty(t, dst)
	require.NoError(t, w.Flush())
	require.Equal(t, writes{"\x01a\x00\x03bcd"}, dst)
	require.NoError(t, w.Flush())
	require.Len(t, dst, 1)
}

// What is written is what AppendFrame makes of it, in Writes of 64 KiB and a header at most or of one longer frame.
func TestWriterProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var dst writes
		var wire []byte
		enc := codec.LengthPrefix(4, 0)
		w := codec.NewWriter(&dst, enc)
		for range rapid.IntRange(0, 20).Draw(t, "frames") {
			size := rapid.OneOf(
				rapid.IntRange(0, 20),
				rapid.IntRange(writerBatch-10, writerBatch+10),
				rapid.IntRange(0, 3*writerBatch)).Draw(t, "size")
			payload := bytes.Repeat([]byte{byte(size)}, size)
			require.NoError(t, w.WriteFrame(payload))
			wire, _ = enc.AppendFrame(wire, payload)
			clear(payload) // it is the caller's again

			if rapid.Bool().Draw(t, "flush") {
				require.NoError(t, w.Flush())
			}
			require.Less(t, len(wire)-dst.size(), writerBatch, "held back")
		}
		require.NoError(t, w.Flush())
		require.Equal(t, wire, dst.join())
		for _, write := range dst {
			frames := readAll(codec.NewReader(bytes.NewReader([]byte(write)), enc))
			require.NoError(t, frames.err, "a Write that ends inside a frame")
			require.True(t, len(frames.frames) == 1 || len(write) <= writerBatch+4, "%d bytes, %d frames", len(write), len(frames.frames))
		}
	})
}

// A payload that cannot be framed leaves nothing behind, and the stream intact.
func TestWriterEncoderError(t *testing.T) {
	var dst writes
	w := codec.NewWriter(&dst, codec.LengthPrefix(1, 5))
	require.NoError(t, w.WriteFrame([]byte("a")))
	require.Equal(t, &codec.TooLongError{Length: 6, Max: 5}, w.WriteFrame([]byte("vwxyz")))
	require.NoError(t, w.WriteFrame([]byte("b")))
	require.NoError(t, w.Flush())
	require.Equal(t, writes{"\x01a\x01b"}, dst)
}

func TestWriterErrorIsFinal(t *testing.T) {
	broken := errors.New("broken")
	for _, test := range []struct {
		name  string
		write func(p []byte) (int, error)
		want  error
	}{
		{"error", func(p []byte) (int, error) { return 0, broken }, broken},
		{"error with everything", func(p []byte) (int, error) { return len(p), broken }, broken},
		{"short", func(p []byte) (int, error) { return len(p) - 1, nil }, io.ErrShortWrite},
	} {
		t.Run(test.name, func(t *testing.T) {
			calls := 0
			w := codec.NewWriter(writerFunc(func(p []byte) (int, error) {
				calls++
				return test.write(p)
			}), codec.Raw())
			require.NoError(t, w.WriteFrame([]byte("a")))
			require.Equal(t, test.want, w.Flush())
			require.Equal(t, test.want, w.WriteFrame([]byte("b")))
			require.Equal(t, test.want, w.Flush())
			require.Equal(t, 1, calls)

			calls = 0 // the same, found by WriteFrame because the batch is full
			w = codec.NewWriter(writerFunc(test.write), codec.Raw())
			require.NoError(t, w.WriteFrame([]byte("a")))
			require.Equal(t, test.want, w.WriteFrame(make([]byte, writerBatch)))
			require.Equal(t, test.want, w.WriteFrame([]byte("b")))
		})
	}
}

func TestWriterAllocatesNothing(t *testing.T) {
	for _, size := range []int{64, 1 << 19} {
		payload := make([]byte, size)
		w := codec.NewWriter(io.Discard, codec.LengthPrefix(4, 0))
		write := func() {
			for range 2 * writerBatch / 64 {
				_ = w.WriteFrame(payload)
			}
		}
		write()
		require.Zero(t, testing.AllocsPerRun(1, write))
	}
}

// writes are what each Write got.
type writes []string

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, string(p))
	return len(p), nil
}

func (w writes) join() (all []byte) {
	for _, write := range w {
		all = append(all, write...)
	}
	return all
}

func (w writes) size() int { return len(w.join()) }

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
