// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import (
	"context"

	"github.com/quartet-go/quartet/bench/load"
)

var broadcast = &Scenario{
	Name:     "broadcast",
	Sentence: "what one connection sends, the server writes to all; a message is one delivery",
	Least:    12, // the prefix, and something that tells messages apart
	Most:     1 << 20,
	cases:    []Case{{Conns: 200, Size: 64, Depth: 1}},
	run: func(ctx context.Context, t *test) error {
		tape, err := t.tape(true)
		if err != nil {
			return err
		}
		at, err := t.start(ctx, "broadcast", "tcp")
		if err != nil {
			return err
		}
		b, err := load.DialBroadcast(load.BroadcastConfig{Endpoint: at, Conns: t.Conns, Depth: t.Depth, Rate: t.Rate, Tape: tape})
		if err != nil {
			return err
		}
		defer b.Close()
		m := t.meter()
		t.attempt.Round = m.round(b.Run(m.window(ctx)))
		return nil
	},
}
