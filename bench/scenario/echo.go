// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import "context"

var echo = &Scenario{
	Name:     "echo",
	Sentence: "a stream of small messages on many connections, each sent back as it came",
	cases:    []Case{{Conns: 200, Size: 64, Depth: 1}},
	run:      func(ctx context.Context, t *test) error { return t.streams(ctx, "echo", "tcp", false, 0) },
}
