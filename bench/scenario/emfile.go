// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/quartet-go/quartet/bench/load"
)

// What the emfile scenario is.
const (
	spareFiles    = 32              // descriptors that the server has left when the crowd comes; half as many as clients, if those are few
	oldClients    = 8               // connected before, exchanging all the time
	crowdTime     = time.Second     // at least
	newClientTime = 3 * time.Second // after the crowd has gone, until a new client is answered
)

var emfile = &Scenario{
	Name: "emfile",
	Sentence: fmt.Sprintf("more clients than the server has descriptors for; survived if the %d from before are answered all the time, and a new one "+
		"within %v of the crowd's leaving", oldClients, newClientTime),
	Survival: true,
	Closed:   true,
	Single:   true,
	Most:     16 << 10,
	cases:    []Case{{Conns: 200, Size: 64, Depth: 1}},
	run:      runEMFILE,
}

func runEMFILE(ctx context.Context, t *test) error {
	at, tape, err := t.startEcho(ctx, "tcp")
	if err != nil {
		return err
	}
	old, err := load.DialStreams(load.StreamConfig{Endpoint: at, Conns: oldClients, Depth: 1, Tape: tape, Threads: 1})
	if err != nil {
		return err
	}
	defer old.Close()
	first := old.Exchange()
	spare := min(spareFiles, t.Conns/2)
	files, err := t.running.Files()
	if err == nil {
		err = t.running.LimitFiles(files + spare)
	}
	if err != nil {
		return notOn("the server's descriptors cannot be limited here", err.Error())
	}

	crowd := gather(at, t.Conns)
	m := t.meter()
	t.Duration = max(t.Duration, crowdTime)
	w := m.window(ctx)
	w.Count = 0
	result := old.Run(w)
	for _, c := range crowd {
		c.Close()
	}
	if len(crowd) <= spare {
		result.Missing(1, "only %d clients could connect", len(crowd))
	}
	result.Errors += first.Errors
	result.Mismatches += first.Mismatches
	t.attempt.Round = m.round(result)
	t.attempt.Round.RSSPerConn = nil

	if why := newClient(at, tape); why != "" {
		t.attempt.Round.Errors++
		t.broken("a new client after the crowd: " + why)
	}
	return nil
}

// gather connects clients that do nothing. The kernel takes them into the backlog when the server cannot.
func gather(at load.Endpoint, n int) (crowd []net.Conn) {
	for range n {
		c, err := net.DialTimeout(at.Network, at.Address, time.Second)
		if err != nil {
			break
		}
		crowd = append(crowd, c)
	}
	return crowd
}

// newClient exchanges a message on a new connection and says what went wrong.
func newClient(at load.Endpoint, tape *load.Tape) string {
	conn, err := net.DialTimeout(at.Network, at.Address, newClientTime)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(newClientTime))
	want := tape.Message(1)
	if _, err := conn.Write(want); err != nil {
		return err.Error()
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err.Error()
	}
	if string(got) != string(want) {
		return errWrong.Error()
	}
	return ""
}
