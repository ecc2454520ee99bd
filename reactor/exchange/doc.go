// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package exchange asks over UDP and waits for the reply with patience: a request that stays unanswered is sent
// again, each time after twice the wait, until it is given up.
//
//	c, err := exchange.Dial(ctx, "udp", "127.0.0.1:1060", nil)
//	...
//	defer c.Close()
//	reply, err := c.Do(ctx, []byte("hello"))
//
// An Async does the same on a reactor, where nothing may block: it has many requests in flight on one socket, and
// calls a function with what came of each. A server may so ask others for what it needs to answer:
//
//	a, err := exchange.New(r, "udp", "127.0.0.1:1060", &exchange.AsyncOptions{Key: number})
//	...
//	ref := c.Ref()
//	err = a.Do(c.Context(), request, func(reply []byte, err error) {
//		if err == nil {
//			_, err = ref.Write(reply)
//		}
//		...
//	})
//
// Datagrams get lost, come twice, late and out of order, and anybody may send some. Both therefore hear their peer
// alone, and Options.Match, or AsyncOptions.Key, tells to which request one of the peer's datagrams is the reply; what
// is none is counted and forgotten. A server may get a request several times: repeating it must do no harm.
//
// An unreachable port is no end (the server may be about to start again, and anybody can forge an ICMP message), but
// it is the cause that the *NoReplyError of a request given up tells. What no later try can mend, a request too long
// for a datagram for one, ends it at once.
//
// Reading order: backoff.go is when to ask again, options.go what can be chosen, request.go the rules for one
// request, without sockets and clocks, errors.go its end without a reply; client.go moves the bytes and blocks.
// async_options.go, async.go and async_loop.go do it on a reactor: the last has what runs on the loop.
package exchange
