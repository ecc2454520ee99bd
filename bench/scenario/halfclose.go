// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quartet-go/quartet/bench/load"
)

const (
	// A client reads when it has sent all and its end has had time to arrive, or when it could not send anything for
	// stallTime. A server that takes in everything then knows of the end while most of the answer is unsent; one that
	// bounds what it holds stops the client, and learns of the end last.
	arriveTime = 50 * time.Millisecond
	stallTime  = 200 * time.Millisecond
	// halfCloseTime bounds how long the answers may take.
	halfCloseTime = 20 * time.Second
)

var halfClose = &Scenario{
	Name: "half-close",
	Sentence: "echo of 16 MiB to clients that send all, shut down their writing half, and only then read (or when the server " +
		"takes no more); survived if every answer is complete",
	Survival: true,
	Closed:   true,
	Single:   true,
	cases:    []Case{{Conns: 10, Size: 16 << 20, Depth: 1}},
	run:      runHalfClose,
}

func runHalfClose(ctx context.Context, t *test) error {
	at, err := t.start(ctx, "echo", "tcp")
	if err != nil {
		return err
	}
	// One message for all; each client starts at another place of it.
	tape, err := load.NewTape(halfCloseChunk, halfCloseChunk, false, uint64(t.Seed))
	if err != nil {
		return err
	}
	m := t.meter()
	m.begin = t.running.Usage()
	start := time.Now()
	outcomes := make([]error, t.Conns)
	var all sync.WaitGroup
	for i := range outcomes {
		all.Go(func() { outcomes[i] = halfCloseClient(at, tape, i, t.Size) })
	}
	all.Wait()
	m.end = t.running.Usage()

	result := &load.Result{}
	for _, err := range outcomes {
		switch {
		case err == nil:
			result.Messages++
		case errors.Is(err, errWrong):
			result.Wrong(1, "%v", err)
		default:
			result.Missing(1, "%v", err)
		}
	}
	r := &t.attempt.Round
	r.Messages, r.Errors, r.Mismatches, r.Failures = result.Messages, result.Errors, result.Mismatches, result.Failures
	r.Seconds = time.Since(start).Seconds()
	r.MessagesPerSecond = over(float64(r.Messages), r.Seconds)
	m.usage(r)
	r.RSSPerConn = nil
	if r.Messages < int64(t.Conns) {
		t.attempt.Reason = fmt.Sprintf("%d of %d answers complete", r.Messages, t.Conns)
	}
	return nil
}

var errWrong = errors.New("an answer differs from what was sent")

const halfCloseChunk = 64 << 10

// halfCloseClient sends size bytes, shuts down, and reads the answer to its end.
func halfCloseClient(at load.Endpoint, tape *load.Tape, client, size int) error {
	conn, err := net.DialTimeout(at.Network, at.Address, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(halfCloseTime))
	var sent atomic.Int64
	all := make(chan struct{})
	go func() { // a failure to send shows in what comes back
		defer close(all)
		for done := 0; done < size; {
			chunk := tape.Message(client + done/halfCloseChunk)
			n, err := conn.Write(chunk[:min(len(chunk), size-done)])
			if err != nil {
				return
			}
			done += n
			sent.Store(int64(done))
		}
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	stalled(all, &sent)
	buf := make([]byte, halfCloseChunk)
	for got := 0; got < size; {
		n := min(halfCloseChunk, size-got)
		k, err := io.ReadFull(conn, buf[:n])
		if !bytes.Equal(buf[:k], tape.Message(client + got/halfCloseChunk)[:k]) {
			return fmt.Errorf("%w, in the chunk at byte %d", errWrong, got)
		}
		if err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", got+k, size, err)
		}
		got += n
	}
	if _, err := conn.Read(buf[:1]); err != io.EOF {
		return fmt.Errorf("after the whole answer: %v, want the end", err)
	}
	return nil
}

// stalled returns when all is sent, or nothing more can be.
func stalled(all <-chan struct{}, sent *atomic.Int64) {
	for last := int64(-1); last != sent.Load(); {
		last = sent.Load()
		select {
		case <-all:
			time.Sleep(arriveTime)
			return
		case <-time.After(stallTime):
		}
	}
}
