// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package frames shows what a codec makes of a stream: each frame that a client sends comes back in one and the same
// format, whichever it was sent in.
package frames

import (
	"errors"
	"log/slog"
	"math"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
)

// answer is the format of what comes back: a 4-byte big-endian length and the payload. What dec let in has no further
// limit.
var answer = codec.LengthPrefix(4, math.MaxInt32)

// Stream answers each frame that dec finds with a 4-byte big-endian length and the frame's payload as dec delivers it.
// A stream that is broken, or ends inside a frame, is closed after the frames before were answered, and the error is
// logged.
func Stream(dec codec.Decoder, log *slog.Logger) reactor.AcceptFunc {
	h := reactor.Frames(dec, &handler{log: log})
	return func(*reactor.Conn) (reactor.Handler, error) { return h, nil }
}

type handler struct {
	reactor.FrameBase
	log *slog.Logger
}

func (h *handler) Frame(c *reactor.Conn, payload []byte) error { return c.Send(answer, payload) }

func (h *handler) Close(c *reactor.Conn, err error) {
	var tooLong *codec.TooLongError
	var malformed *codec.MalformedError
	var truncated *codec.TruncatedError
	if errors.As(err, &tooLong) || errors.As(err, &malformed) || errors.As(err, &truncated) {
		h.log.Info("decoding failed", "conn", c.Tuple(), "id", c.ID(), "err", err)
	}
}
