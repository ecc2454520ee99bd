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
// Datagrams get lost, come twice, late and out of order, and anybody may send some. A Client therefore hears its
// peer alone, and Options.Match tells which of the peer's datagrams is the reply to the running request; what is not
// is counted and forgotten. A server may get a request several times: repeating it must do no harm.
//
// An unreachable port is no end (the server may be about to start again, and anybody can forge an ICMP message), but
// it is the cause that the *NoReplyError of a request given up tells. What no later try can mend, a request too long
// for a datagram for one, ends it at once.
//
// Reading order: backoff.go is when to ask again, options.go what can be chosen, request.go the rules for one
// request, without sockets and clocks, errors.go its end without a reply; client.go moves the bytes and blocks.
package exchange
