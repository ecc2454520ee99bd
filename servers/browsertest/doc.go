// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

// Package browsertest looks at the live page of servers -inspect in headless Chromium, as somebody would who has real
// clients, a mouse or only a keyboard, a bright or a dark screen or a phone. It is a module of its own so that nobody
// else gets to know what it needs, and runs under the tag e2e:
//
//	go test -count=1 -tags e2e ./...
//
// The results are not to come from go's cache, which does not see that the page has changed. Pictures stay with -artifacts.
package browsertest
