// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/quartet-go/quartet/reactor"
)

// newLogger writes to standard error, which is unbuffered: a line is there before what follows it happens.
func newLogger(cfg *config) *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.logLevel})).With("service", cfg.service.name)
}

// traced logs connections opening and closing, if anybody wants to know.
func traced(accept reactor.AcceptFunc, log *slog.Logger) reactor.AcceptFunc {
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return accept
	}
	return func(c *reactor.Conn) (reactor.Handler, error) {
		h, err := accept(c)
		log.Debug("connection opened", "conn", c.Tuple(), "id", c.ID())
		return tracer{h, log}, err
	}
}

type tracer struct {
	reactor.Handler
	log *slog.Logger
}

func (t tracer) Close(c *reactor.Conn, err error) {
	t.Handler.Close(c, err)
	t.log.Debug("connection closed", "conn", c.Tuple(), "id", c.ID(), "err", err)
}

// Draining is the one optional method that services have.
func (t tracer) Draining(c *reactor.Conn) {
	if d, ok := t.Handler.(reactor.Drainer); ok {
		d.Draining(c)
	}
}
