// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package message reads one message of a fixed length from each connection, answers "Hello World!" and closes: the
// smallest server that needs framing, since TCP may deliver even sixteen bytes in sixteen pieces.
package message

import (
	"errors"
	"io"
	"log/slog"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/reactor"
)

// Answer is what a complete message is answered with.
const Answer = "Hello World!"

// maxLogged bounds how much of a message is written to the log.
const maxLogged = 256

// Stream reads one message of size bytes, logs it, sends Answer and closes; what follows the message is thrown away. A
// client that ends before its message does gets no answer, and the log says how many octets came. It panics if size is
// less than 1.
func Stream(size int, log *slog.Logger) reactor.AcceptFunc {
	h := reactor.Frames(codec.Fixed(size), &handler{size: size, log: log})
	return func(*reactor.Conn) (reactor.Handler, error) { return h, nil }
}

type handler struct {
	reactor.FrameBase
	size int
	log  *slog.Logger
}

func (h *handler) Frame(c *reactor.Conn, payload []byte) error {
	shown := payload[:min(len(payload), maxLogged)]
	h.log.Info("message", "conn", c.Tuple(), "id", c.ID(), "octets", len(payload), "text", string(shown))
	c.Write([]byte(Answer))
	return c.Close()
}

func (h *handler) EOF(c *reactor.Conn, rest []byte) error {
	h.log.Info("message ended early", "conn", c.Tuple(), "id", c.ID(), "octets", len(rest), "want", h.size)
	return h.FrameBase.EOF(c, rest)
}

// Close logs what neither Frame nor EOF saw: a reset, a timeout, a shutdown.
func (h *handler) Close(c *reactor.Conn, err error) {
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		h.log.Info("message failed", "conn", c.Tuple(), "id", c.ID(), "err", err)
	}
}
