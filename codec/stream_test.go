// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"bytes"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/quartet-go/quartet/codec"
)

// An outcome is all that can be seen of a stream: its frames and the error, if any, that ended it.
type outcome struct {
	frames [][]byte
	err    error
}

// A stream decodes what it is fed as a careful caller does, and asserts the Decoder contract on the way.
type stream struct {
	t          require.TestingT
	dec        codec.Decoder
	in         []byte
	seen, need int
	calls      int
	outcome
}

func (s *stream) feed(read []byte) {
	s.in = append(s.in, read...)
	for s.err == nil && len(s.in) > 0 && len(s.in) >= s.need {
		before := bytes.Clone(s.in)
		payload, n, need, err := s.dec.Decode(s.in, s.seen)
		s.calls++
		require.Equal(s.t, before, s.in, "Decode changed its input")
		switch {
		case err != nil:
			require.Zero(s.t, n)
			require.Zero(s.t, need)
			require.Nil(s.t, payload)
			s.err = err
		case n == 0:
			require.Greater(s.t, need, len(s.in), "asked for bytes that are there")
			require.Nil(s.t, payload)
			s.seen, s.need = len(s.in), need
		default:
			require.LessOrEqual(s.t, n, len(s.in), "took more than there is")
			require.NotNil(s.t, payload)
			require.Equal(s.t, len(payload), cap(payload), "appending to the payload would change src")
			require.True(s.t, bytes.Contains(s.in[:n], payload), "the payload is not a part of the frame")
			s.frames = append(s.frames, bytes.Clone(payload))
			s.in, s.seen, s.need = s.in[n:], 0, 0
		}
	}
}

func (s *stream) end() {
	if s.err == nil && len(s.in) > 0 {
		s.err = &codec.TruncatedError{Have: len(s.in), Need: s.need}
	}
}

// receive decodes reads; with eof the stream ends after them.
func receive(t require.TestingT, dec codec.Decoder, reads [][]byte, eof bool) outcome {
	s := &stream{t: t, dec: dec}
	for _, read := range reads {
		s.feed(read)
	}
	if eof {
		s.end()
	}
	return s.outcome
}

// requireSplitInvariant decodes wire whole, byte by byte and cut as reads says; all must give the same, which it returns.
func requireSplitInvariant(t require.TestingT, dec codec.Decoder, wire []byte, reads [][]byte, eof bool) outcome {
	whole := receive(t, dec, [][]byte{wire}, eof)
	require.Equal(t, whole, receive(t, dec, single(wire), eof), "whole and byte by byte differ")
	require.Equal(t, whole, receive(t, dec, reads, eof), "whole and %x differ", reads)
	for _, most := range []int{1, 3, 1 + len(whole.frames)} {
		require.Equal(t, whole, receiveBatches(t, dec, wire, most, eof), "one by one and %d at a time differ", most)
	}
	return whole
}

// receiveBatches decodes wire, all of it there, at most so many frames at a time.
func receiveBatches(t require.TestingT, dec codec.Decoder, wire []byte, most int, eof bool) (o outcome) {
	payloads := make([][]byte, most)
	for {
		frames, n, need, err := codec.DecodeBatch(dec, payloads, wire, 0)
		for _, payload := range payloads[:frames] {
			require.NotNil(t, payload)
			require.Equal(t, len(payload), cap(payload), "appending to the payload would change src")
			require.True(t, bytes.Contains(wire[:n], payload), "the payload is not a part of the frames")
			o.frames = append(o.frames, bytes.Clone(payload))
		}
		wire = wire[n:]
		if frames == most {
			require.Zero(t, need)
			require.NoError(t, err)
			if len(wire) > 0 {
				continue
			}
		}
		if o.err = err; err == nil && eof && len(wire) > 0 {
			require.Greater(t, need, len(wire), "asked for bytes that are there")
			o.err = &codec.TruncatedError{Have: len(wire), Need: need}
		}
		return o
	}
}

// single cuts wire into reads of one byte.
func single(wire []byte) (reads [][]byte) {
	for i := range wire {
		reads = append(reads, wire[i:i+1])
	}
	return reads
}

// cut cuts wire at random.
func cut(t *rapid.T, wire []byte) (reads [][]byte) {
	for len(wire) > 0 {
		n := rapid.IntRange(1, len(wire)).Draw(t, "read")
		reads, wire = append(reads, wire[:n]), wire[n:]
	}
	return reads
}

// bytesOf draws bytes, from least to most of them.
func bytesOf(least, most int) *rapid.Generator[[]byte] {
	return rapid.SliceOfN(rapid.Byte(), least, most)
}
