// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import (
	"context"

	"github.com/quartet-go/quartet/bench/load"
)

var churn = &Scenario{
	Name:     "churn",
	Sentence: "connect, exchange one message, close, and again; a message is one such connection",
	Most:     16 << 10, // what a new connection takes at once
	Single:   true,
	cases:    []Case{{Conns: 64, Size: 64, Depth: 1}},
	run: func(ctx context.Context, t *test) error {
		at, tape, err := t.startEcho(ctx, "tcp")
		if err != nil {
			return err
		}
		m := t.meter()
		result, err := load.Churn(load.ChurnConfig{Endpoint: at, Conns: t.Conns, Rate: t.Rate, Tape: tape, Threads: t.Threads}, m.window(ctx))
		if err != nil {
			return err
		}
		t.attempt.Round = m.round(result)
		t.attempt.Round.RSSPerConn = nil // they come and go
		return nil
	},
}
