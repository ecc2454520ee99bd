// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package load

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// A Tape is a sequence of different messages of one size that repeats for ever. Connections send it from different
// starts, so that an answer which belongs to another connection or another request is not the expected one.
//
//	| message 0 | message 1 | ... | message n-1 | message 0 | ... lead-out ...
//	|<------------- period ------------------->|<- any slice that starts in the period is contiguous
type Tape struct {
	Size     int
	messages int
	period   int
	bytes    []byte
}

// FramePrefix is the bytes of the length in front of a frame's payload.
const FramePrefix = 4

// readSize is how many bytes a load reads at a time.
const readSize = 128 << 10

// The period of a tape has at least tapeBytes, so that messages differ, and at least tapeMessages.
const (
	tapeBytes    = 64 << 10
	tapeMessages = 8
)

// NewTape makes a tape of messages of size bytes, of which a load takes at most ahead bytes at a time. Framed messages
// start with a 4-byte big-endian length of what follows.
func NewTape(size, ahead int, framed bool, seed uint64) (*Tape, error) {
	if size < 1 || framed && size < FramePrefix {
		return nil, fmt.Errorf("a message of %d bytes is too small, want at least %d", size, FramePrefix)
	}
	t := &Tape{Size: size, messages: max(tapeMessages, (tapeBytes+size-1)/size)}
	t.period = t.messages * size
	t.bytes = make([]byte, t.period+max(ahead, readSize))
	rng := rand.NewChaCha8([32]byte{0: byte(seed), 1: byte(seed >> 8), 2: byte(seed >> 16), 3: byte(seed >> 24)})
	_, _ = rng.Read(t.bytes[:t.period])
	if framed {
		for at := 0; at < t.period; at += size {
			binary.BigEndian.PutUint32(t.bytes[at:], uint32(size-FramePrefix))
		}
	}
	for n := t.period; n < len(t.bytes); {
		n += copy(t.bytes[n:], t.bytes[:t.period])
	}
	return t, nil
}

// start is where the i-th connection begins.
func (t *Tape) start(i int) int { return (i * 7919) % t.messages * t.Size }

// from returns n bytes from position at on, which counts from the start of the tape and may be beyond its period.
func (t *Tape) from(at int64, n int) []byte {
	i := int(at % int64(t.period))
	return t.bytes[i : i+n]
}

// ahead is how many bytes from can return.
func (t *Tape) ahead() int64 { return int64(len(t.bytes) - t.period) }

// message returns the k-th message of the endless tape.
func (t *Tape) message(k int64) []byte { return t.from(k*int64(t.Size), t.Size) }

// wrong returns how many of the messages that got, read at position at, has bytes of differ from the tape.
func (t *Tape) wrong(at int64, got []byte) (n int64) {
	for len(got) > 0 {
		k := min(len(got), t.Size-int(at%int64(t.Size)))
		if !bytes.Equal(got[:k], t.from(at, k)) {
			n++
		}
		got, at = got[k:], at+int64(k)
	}
	return n
}

// Message returns the k-th message of the endless tape, for loads outside of this package.
func (t *Tape) Message(k int) []byte { return t.message(int64(k)) }
