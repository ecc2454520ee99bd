// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import "context"

// usual is the case from which scale goes off in each direction.
var usual = Case{Conns: 100, Size: 64, Depth: 1}

var scale = &Scenario{
	Name:     "scale",
	Sentence: "framed echo as one thing grows: connections from 10 to 15,000, a message from 16 B to 1 MiB, requests in flight from 1 to 64; takes long, so not part of all",
	Least:    4, // the prefix
	Most:     1 << 20,
	Apart:    true,
	cases:    growing(),
	run:      func(ctx context.Context, t *test) error { return t.streams(ctx, "frames", "tcp", true, 0) },
}

func growing() []Case {
	list := []Case{usual}
	vary := func(set func(c *Case, n int), values ...int) {
		for _, n := range values {
			c := usual
			set(&c, n)
			list = append(list, c)
		}
	}
	vary(func(c *Case, n int) { c.Conns = n }, 10, 1000, 5000, 15000)
	vary(func(c *Case, n int) { c.Size = n }, 16, 1<<10, 16<<10, 64<<10, 256<<10, 1<<20)
	vary(func(c *Case, n int) { c.Depth = n }, 4, 16, 64)
	return list
}
