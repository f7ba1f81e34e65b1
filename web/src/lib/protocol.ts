// The shapes of the wire (docs/protocol.md), shared by the console and the widget: types, and the limits that a client can keep.

export interface Ref {
  id: string
  name: string
}

export type Role = 'owner' | 'admin' | 'agent'

export interface Session {
  member: { id: string; name: string; email: string }
  organisation: Ref
  role: Role | (string & {})
  organisations: Ref[]
  realtime: { org_channel: string; member_channel: string }
}

export interface Setup {
  needed: boolean
  code_required: boolean
}

export interface Invitation {
  email: string
  name?: string
  organisation: string
}

export interface Member {
  id: string
  name: string
  role: Session['role']
  online: boolean
}

export interface Site {
  id: string
  name: string
  origins: string[]
  accent?: string | null
  snippet: string
  created_at: string
}

export interface Visitor {
  id: string
  name?: string | null
  email?: string | null
}

export interface PageRef {
  url: string
  title: string
}

export type ConversationState = 'open' | 'closed'

export interface Conversation {
  id: string
  site: Ref
  visitor: Visitor & { online: boolean }
  state: ConversationState
  assignee: Ref | null
  last_seq: number
  last_message: { seq: number; author_kind: AuthorKind; preview: string } | null
  last_message_at: string
  created_at: string
  closed_at?: string | null
  unread: number
  visitor_read_seq: number
  agent_read_seq: number
  page: PageRef | null
}

export interface WidgetConversation {
  id: string
  state: ConversationState
  last_seq: number
  created_at: string
  visitor_read_seq: number
  agent_read_seq: number
  unread: number
  assignee: Ref | null
}

export interface WidgetSite {
  id: string
  name: string
  accent?: string | null
  online: boolean
  /** Whether calls can be held on this server. */
  calls?: boolean
}

export type AuthorKind = 'visitor' | 'agent'

export interface Message {
  id: string
  conversation: string
  seq: number
  client_id: string
  sent_at: string
  author: { kind: AuthorKind; id: string; name?: string | null }
  body: string
}

export interface MessagePage {
  items: Message[]
  more: boolean
}

export interface Counts {
  open: number
  mine: number
  unassigned: number
}

export interface ConversationPage {
  items: Conversation[]
  next?: string | null
  counts?: Counts
}

export interface Person {
  id: string
  name?: string | null
  email?: string | null
  created_at?: string
  conversations?: number
}

export interface ErasureReceipt {
  ledger_seq: number
  at: string
  final_at: string
}

/** What arrives on a channel. `D` is the data of one event type. */
export interface Event<T extends string = string, D = unknown> {
  id: string
  type: T
  org: string
  time: string
  seq: number
  data: D
}

export type MessageCreated = Event<'chat.message.created.v1', { conversation: string; message: Message }>
export type ConversationCreated = Event<'chat.conversation.created.v1', { conversation: string }>
export type ConversationUpdated = Event<
  'chat.conversation.updated.v1',
  { conversation: string; state: ConversationState; assignee: Ref | null }
>
export type Read = Event<'chat.read.v1', { conversation: string; by: AuthorKind; seq: number }>
export type Typing = Event<'chat.typing.v1', { conversation: string; by: { kind: AuthorKind; id: string }; on: boolean }>
export type InboxChanged = Event<
  'chat.inbox.changed.v1',
  { conversations: string[]; more: boolean; counts: { open: number; unassigned: number } }
>

export type CallState = 'ringing' | 'live' | 'ended'
export type CallMedia = 'video' | 'audio'
export type CallEnd = 'hung_up' | 'declined' | 'missed' | 'cancelled' | 'forced' | 'failed' | 'shutdown'

/** One entry into a call: who comes again has a further one. */
export interface CallParticipant {
  /** The identity in the room: random, made for this entry. */
  id: string
  kind: AuthorKind
  member?: string | null
  name?: string | null
  joined_at?: string | null
  left_at?: string | null
}

/** A call: the API calls it a session. */
export interface Call {
  id: string
  conversation: string
  state: CallState
  media: CallMedia
  started_by: AuthorKind
  created_at: string
  answered_at?: string | null
  ended_at?: string | null
  end_reason?: CallEnd | null
  /** When it stops ringing, by the server's clock. */
  ring_until?: string | null
  /** The member who calls or has answered. */
  agent?: { id: string; name?: string } | null
  participants: CallParticipant[]
}

/** The way into the room of a call. */
export interface CallTicket {
  url: string
  token: string
  identity: string
  expires_at?: string
}

export interface MediaNotice {
  id: string
  version: string
  lang: string
  title: string
  paragraphs: string[]
  acknowledged: boolean
}

/** What the preflight page needs to try the ways to our media server. */
export interface CheckServers {
  ice_servers: { urls: string | string[]; username?: string; credential?: string }[]
  udp: boolean
  tcp: boolean
  turn: boolean
  turn_tls: boolean
}

export type CallChanged = Event<
  'video.session.changed.v1',
  {
    session: string
    conversation: string
    state: CallState
    media: CallMedia
    started_by: AuthorKind
    ring_until?: string | null
    end_reason?: CallEnd | null
  }
>
type Passage = { session: string; conversation: string; identity: string; kind: AuthorKind; member?: string | null }
export type CallJoined = Event<'video.participant.joined.v1', Passage>
export type CallLeft = Event<'video.participant.left.v1', Passage>
export type CallEvent = CallChanged | CallJoined | CallLeft

export type ChatEvent = MessageCreated | ConversationCreated | ConversationUpdated | Read | Typing | InboxChanged | CallEvent

/** Limits that a client can hold to before it asks (docs/protocol.md, "Limits"). */
export const MAX_MESSAGE_BYTES = 8192
