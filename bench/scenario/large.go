// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import "context"

var large = &Scenario{
	Name:     "large",
	Sentence: "echo of messages of 64 KiB and of 1 MiB, more than one read brings and a socket takes",
	cases:    []Case{{Conns: 16, Size: 64 << 10, Depth: 1}, {Conns: 4, Size: 1 << 20, Depth: 1}},
	run:      func(ctx context.Context, t *test) error { return t.streams(ctx, "echo", "tcp", false, 0) },
}
