// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import "context"

var push = &Scenario{
	Name:     "push",
	Sentence: "echo in which another goroutine of the server, not the one that read, writes the answer",
	cases:    []Case{{Conns: 200, Size: 64, Depth: 1}},
	run:      func(ctx context.Context, t *test) error { return t.streams(ctx, "push", "tcp", false, 0) },
}
