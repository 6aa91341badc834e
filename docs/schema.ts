/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
export type Maybe<T> = T | null;
export type InputMaybe<T> = Maybe<T>;
/** All built-in and custom scalars, mapped to their actual values */
export type Scalars = {
  ID: { input: string; output: string; }
  String: { input: string; output: string; }
  Boolean: { input: boolean; output: boolean; }
  Int: { input: number; output: number; }
  Float: { input: number; output: number; }
  /** Bytes, in base64 of the standard alphabet. */
  Base64: { input: string; output: string; }
  /** Any JSON value. An object may also be sent as its text, as GraphQL literals know no `$`. */
  JSON: { input: unknown; output: unknown; }
  /** Numbers, as lists in lists. What is not finite is null. */
  NdArray: { input: unknown; output: unknown; }
};

/** What happened to documents. */
export type Change = {
  deleted: Array<Scalars['ID']['output']>;
  /** The written documents that are still there; the first page of them. */
  documents: Array<Document>;
  /** Whether more changed than can be told: what was read before is to be read again. */
  moved: Scalars['Boolean']['output'];
  written: Array<Scalars['ID']['output']>;
};

/** Documents that were deleted. */
export type DeletePayload = {
  ids: Array<Scalars['ID']['output']>;
};

/** A document. What is not set is null. */
export type Document = {
  adjacency?: Maybe<Scalars['Int']['output']>;
  blob?: Maybe<Scalars['Base64']['output']>;
  /** The parts of the document. */
  chunks: DocumentConnection;
  embedding?: Maybe<Scalars['NdArray']['output']>;
  evaluations: Array<Namescoreitem>;
  granularity?: Maybe<Scalars['Int']['output']>;
  id: Scalars['ID']['output'];
  location?: Maybe<Array<Scalars['Float']['output']>>;
  /** What was found for the document. */
  matches: DocumentConnection;
  mimeType?: Maybe<Scalars['String']['output']>;
  modality?: Maybe<Scalars['String']['output']>;
  offset?: Maybe<Scalars['Float']['output']>;
  /** The document of `parentId`, if it is one of these documents. */
  parent?: Maybe<Document>;
  parentId?: Maybe<Scalars['ID']['output']>;
  scores: Array<Namescoreitem>;
  /** The documents whose embeddings are nearest. */
  similar: Array<Hit>;
  /** All tags, or what a path such as `size__width` leads to in them. */
  tags?: Maybe<Scalars['JSON']['output']>;
  tensor?: Maybe<Scalars['NdArray']['output']>;
  text?: Maybe<Scalars['String']['output']>;
  uri?: Maybe<Scalars['String']['output']>;
  weight?: Maybe<Scalars['Float']['output']>;
};


/** A document. What is not set is null. */
export type DocumentChunksArgs = {
  after?: InputMaybe<Scalars['String']['input']>;
  filter?: InputMaybe<Scalars['JSON']['input']>;
  first?: InputMaybe<Scalars['Int']['input']>;
};


/** A document. What is not set is null. */
export type DocumentMatchesArgs = {
  after?: InputMaybe<Scalars['String']['input']>;
  filter?: InputMaybe<Scalars['JSON']['input']>;
  first?: InputMaybe<Scalars['Int']['input']>;
};


/** A document. What is not set is null. */
export type DocumentSimilarArgs = {
  embedding?: InputMaybe<Scalars['String']['input']>;
  filter?: InputMaybe<Scalars['JSON']['input']>;
  limit?: InputMaybe<Scalars['Int']['input']>;
  metric?: Metric;
};


/** A document. What is not set is null. */
export type DocumentTagsArgs = {
  path?: InputMaybe<Scalars['String']['input']>;
};

/** A page of a list of documents. */
export type DocumentConnection = {
  edges: Array<DocumentEdge>;
  /** The documents alone. */
  nodes: Array<Document>;
  pageInfo: PageInfo;
  /** Documents of the whole list. */
  totalCount: Scalars['Int']['output'];
};

/** A document of a page, and the cursor that goes on after it. */
export type DocumentEdge = {
  cursor: Scalars['String']['output'];
  node: Document;
};

/** A document. `index` takes null for not set; `update` leaves what is not given, and unsets by null. */
export type DocumentInput = {
  adjacency?: InputMaybe<Scalars['Int']['input']>;
  blob?: InputMaybe<Scalars['Base64']['input']>;
  chunks?: InputMaybe<Array<DocumentInput>>;
  embedding?: InputMaybe<Scalars['NdArray']['input']>;
  evaluations?: InputMaybe<Array<Namescoreiteminput>>;
  granularity?: InputMaybe<Scalars['Int']['input']>;
  id?: InputMaybe<Scalars['ID']['input']>;
  location?: InputMaybe<Array<Scalars['Float']['input']>>;
  matches?: InputMaybe<Array<DocumentInput>>;
  mimeType?: InputMaybe<Scalars['String']['input']>;
  modality?: InputMaybe<Scalars['String']['input']>;
  offset?: InputMaybe<Scalars['Float']['input']>;
  parentId?: InputMaybe<Scalars['ID']['input']>;
  scores?: InputMaybe<Array<Namescoreiteminput>>;
  tags?: InputMaybe<Scalars['JSON']['input']>;
  tensor?: InputMaybe<Scalars['NdArray']['input']>;
  text?: InputMaybe<Scalars['String']['input']>;
  uri?: InputMaybe<Scalars['String']['input']>;
  weight?: InputMaybe<Scalars['Float']['input']>;
};

/** A document that a search found. */
export type Hit = {
  document: Document;
  kind: ScoreKind;
  /** The metric, `bm25` or `rrf`. */
  name: Scalars['String']['output'];
  /** How near, or how alike; see `kind`. */
  score?: Maybe<Scalars['Float']['output']>;
  /** All scores that made the order. */
  scores: Array<Namescoreitem>;
};

/** What became of documents that were sent. */
export type IndexPayload = {
  created: Array<Scalars['ID']['output']>;
  /** As they are now, in the order they were sent. */
  documents: Array<Document>;
  replaced: Array<Scalars['ID']['output']>;
};

/** How near two vectors are. */
export type Metric =
  | 'COSINE'
  | 'EUCLIDEAN'
  | 'INNER_PRODUCT'
  | 'SQEUCLIDEAN';

/** What can be written, where the service lets clients write. */
export type Mutation = {
  /** Deletes documents; all or none. */
  delete: DeletePayload;
  /** Puts documents in the place of those of their ids, or at the end; all or none. */
  index: IndexPayload;
  /** Changes fields of documents that are there; tags are merged; all or none. */
  update: UpdatePayload;
};


/** What can be written, where the service lets clients write. */
export type MutationDeleteArgs = {
  ids: Array<Scalars['ID']['input']>;
};


/** What can be written, where the service lets clients write. */
export type MutationIndexArgs = {
  documents: Array<DocumentInput>;
  replace?: Scalars['Boolean']['input'];
};


/** What can be written, where the service lets clients write. */
export type MutationUpdateArgs = {
  documents: Array<DocumentInput>;
};

/** A score and where it comes from. */
export type Namedscore = {
  description?: Maybe<Scalars['String']['output']>;
  opName?: Maybe<Scalars['String']['output']>;
  refId?: Maybe<Scalars['String']['output']>;
  value?: Maybe<Scalars['Float']['output']>;
};

/** A score and where it comes from. */
export type Namedscoreinput = {
  description?: InputMaybe<Scalars['String']['input']>;
  opName?: InputMaybe<Scalars['String']['input']>;
  refId?: InputMaybe<Scalars['String']['input']>;
  value?: InputMaybe<Scalars['Float']['input']>;
};

/** A score under its name. */
export type Namescoreitem = {
  name: Scalars['String']['output'];
  score: Namedscore;
};

/** A score under its name. */
export type Namescoreiteminput = {
  name: Scalars['String']['input'];
  score: Namedscoreinput;
};

/** Where a page stands in its list. */
export type PageInfo = {
  endCursor?: Maybe<Scalars['String']['output']>;
  hasNextPage: Scalars['Boolean']['output'];
  hasPreviousPage: Scalars['Boolean']['output'];
  startCursor?: Maybe<Scalars['String']['output']>;
};

/** What can be asked. */
export type Query = {
  /** The document of an id; null if there is none. */
  document?: Maybe<Document>;
  /** Documents in their order, or sorted, page by page. */
  documents: DocumentConnection;
  /** The documents that fit best: by words or meaning, near a vector, or like another document. */
  search: Array<Hit>;
};


/** What can be asked. */
export type QueryDocumentArgs = {
  id: Scalars['ID']['input'];
};


/** What can be asked. */
export type QueryDocumentsArgs = {
  after?: InputMaybe<Scalars['String']['input']>;
  filter?: InputMaybe<Scalars['JSON']['input']>;
  first?: InputMaybe<Scalars['Int']['input']>;
  sort?: InputMaybe<Array<Scalars['String']['input']>>;
};


/** What can be asked. */
export type QuerySearchArgs = {
  embedding?: InputMaybe<Scalars['String']['input']>;
  filter?: InputMaybe<Scalars['JSON']['input']>;
  like?: InputMaybe<Scalars['ID']['input']>;
  limit?: InputMaybe<Scalars['Int']['input']>;
  metric?: Metric;
  text?: InputMaybe<Scalars['String']['input']>;
  vector?: InputMaybe<Array<Scalars['Float']['input']>>;
};

/** Whether the best have the least score, or the greatest. */
export type ScoreKind =
  | 'DISTANCE'
  | 'SIMILARITY';

/** What can be listened to. */
export type Subscription = {
  /** Changes of the documents, from now on. */
  changes: Change;
};

/** Documents that were changed. */
export type UpdatePayload = {
  /** As they are now. */
  documents: Array<Document>;
  ids: Array<Scalars['ID']['output']>;
};

export type SearchQueryVariables = Exact<{
  text: string;
  limit?: number | null | undefined;
}>;


export type SearchQuery = { search: Array<{ score: number | null, document: { id: string, text: string | null, tags: unknown } }> };
